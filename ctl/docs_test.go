package ctl

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/kballard/go-shellquote"
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
	t.Chdir(t.TempDir())
	if err := os.WriteFile("app.env", []byte("A=1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"web1", "web2"} {
		s.node(id, true)
		s.agent(id, succeed)
	}
	if err := s.p.Send(t.Context(), "web1", pool.Command{ID: "4XQZ7KJ5R2", Type: "restart"}); err != nil {
		t.Fatal(err)
	}
	for _, lb := range []string{"lb1", "lb2"} {
		if _, err := s.p.WriteAck(t.Context(), pool.Ack{ID: lb, Rev: late}, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	examples := regexp.MustCompile(`(?m)^\$ bbctl (.*)$`).FindAllStringSubmatch(string(page), -1)
	for _, e := range examples {
		args, err := shellquote.Split(e[1])
		if err != nil {
			t.Fatalf("%s: %v", e[1], err)
		}
		if r := s.run(args...); r.code != 0 {
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
	for _, view := range []any{statusView{}, lbView{}, contextView{}, resultView{},
		outcome{Rev: 1, Command: "c", Detail: "d", Confirmed: new(bool), Type: "t", ExitCode: new(int), Stdout: "o", Stderr: "e", Output: []byte("1"), Seconds: 1}} {
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
