package ctl

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/bazbeans/bazbeans/pool"
)

// The page's examples run, one after another, and every command has its section.
func TestDocs(t *testing.T) {
	page, err := os.ReadFile("../docs/bbctl.md")
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(t)
	s.node("web1", true)
	s.node("web2", true)
	for _, lb := range []string{"lb1", "lb2"} {
		if _, err := s.p.WriteAck(t.Context(), pool.Ack{ID: lb, Rev: late}, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	examples := regexp.MustCompile(`(?m)^\$ bbctl (.*)$`).FindAllStringSubmatch(string(page), -1)
	for _, e := range examples {
		if r := s.run(words(e[1])...); r.code != 0 {
			t.Errorf("bbctl %s: exit %d\n%s%s", e[1], r.code, r.stdout, r.stderr)
		}
	}
	for _, c := range rootCmd(newSession(nil, &screen{}, &screen{})).Commands() {
		for _, c := range append([]*cobra.Command{c}, c.Commands()...) {
			if title := "\n### " + strings.TrimPrefix(c.CommandPath(), "bbctl "); !strings.Contains(string(page), title) {
				t.Errorf("no section%s", title)
			}
		}
	}
	// Every key of the data is on the page.
	for _, view := range []any{statusView{}, lbView{}, contextView{}, outcome{Rev: 1, Command: "c", Detail: "d", Confirmed: new(bool)}} {
		b, err := json.Marshal(view)
		if err != nil {
			t.Fatal(err)
		}
		var keys map[string]any
		if err := json.Unmarshal(b, &keys); err != nil {
			t.Fatal(err)
		}
		for k := range keys {
			if !strings.Contains(string(page), "`"+k+"`") {
				t.Errorf("%T: key %s is not on the page", view, k)
			}
		}
	}
}

// words splits a line of the page as a shell does, as far as the page needs it.
func words(line string) (args []string) {
	for i, part := range strings.Split(line, `"`) {
		if i%2 == 1 {
			args = append(args, part)
		} else {
			args = append(args, strings.Fields(part)...)
		}
	}
	return args
}
