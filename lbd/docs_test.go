package lbd

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

// page is one of docs/, whose examples are run here.
func page(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("../docs/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// blocks are the page's examples in a language.
func blocks(t *testing.T, name, language string) []string {
	t.Helper()
	var texts []string
	for _, m := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(page(t, name), -1) {
		texts = append(texts, m[1])
	}
	if texts == nil {
		t.Fatalf("%s has no %s block", name, language)
	}
	return texts
}

func TestThePagesConfigIsTheDefault(t *testing.T) {
	c, err := parseConfig(t, blocks(t, "lbd.md", "yaml")[0])
	if err != nil {
		t.Fatal(err)
	}
	d := DefaultConfig()
	d.ID = "lb1"
	if err := d.complete(); err != nil {
		t.Fatal(err)
	}
	// What the page spells out beside the defaults.
	c.Resolvers, c.Redis.URL, c.Redis.KeyPrefix = d.Resolvers, "", ""
	if got, want := dump(c), dump(d); got != want {
		t.Errorf("the page's config is not the default\n got %s\nwant %s", got, want)
	}
}

// allMetrics has a series of each metric.
func allMetrics() *metrics {
	m := newMetrics(func() Status { return Status{} })
	m.took("test", 0)
	m.asked("redis", 0, nil)
	m.applies.WithLabelValues("applied")
	m.nodes.WithLabelValues("active")
	m.workers.WithLabelValues("serving")
	return m
}

func TestThePageNamesAllMetrics(t *testing.T) {
	families, err := allMetrics().registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for _, w := range regexp.MustCompile(`lbd_\w+`).FindAllString(page(t, "lbd.md"), -1) {
		named[w] = true
	}
	for _, f := range families {
		if name := f.GetName(); strings.HasPrefix(name, "lbd_") {
			if !named[name] {
				t.Errorf("the page does not name %s", name)
			}
			delete(named, name)
		}
	}
	for name := range named {
		t.Errorf("the page names %s, which does not exist", name)
	}
}

func dump(c Config) string { return fmt.Sprintf("%+v", c) }
