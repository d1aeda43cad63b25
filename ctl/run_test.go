package ctl

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/bazbeans/bazbeans/pool"
)

// clearing answers with what it was told, as a program of commands_dir does; logging as a service's plugin.
func clearing(c pool.Command) *pool.Result {
	r := &pool.Result{State: pool.Succeeded}
	switch c.Type {
	case "logs":
		r.Stdout = "line 1\nline 2\n"
	case "clear_cache":
		r.Output, _ = json.Marshal(c.Args) // what was JSON a moment ago
	case "pull":
	default:
		r.State, r.Error = pool.Refused, "this node does not know "+c.Type
	}
	return r
}

func TestRun(t *testing.T) {
	s := newSite(t)
	for _, id := range []string{"web1", "web2"} {
		s.node(id, true, "commands", `["clear_cache","exec","logs","pull","rm -rf"]`)
		s.agent(id, clearing)
	}
	s.python("py1", func(c map[string]any) string { return `{"status":"cache_cleared","what":"` + c["what"].(string) + `"}` })
	s.want(0, `{"deep":[1,true],"lines":50,"what":"a,b=c"}`+"\n", "", "run", "clear_cache", "web1", "--arg", "what=a,b=c", "--arg-json", "lines=50", "--arg-json", "deep=[1,true]")
	s.want(0, "line 1\nline 2\n", "", "run", "logs", "web1")
	s.want(0, `{"status":"cache_cleared","what":"x"}`+"\n", "", "run", "clear_cache", "py1", "--arg", "what=x")
	if r := s.run("run", "pull", "web1"); r.code != 0 || figure(r.stdout) != "web1: pull succeeded (T)\n" || r.stderr != "" {
		t.Errorf("%+v", r)
	}
	s.want(1, "", "bbctl: web1: clearcache refused: this node does not know clearcache\n", "run", "clearcache", "web1")
	r := s.run("run", "logs", "web*", "--yes", "--parallel", "1")
	if r.code != 0 || r.stdout != "web1: line 1\nweb1: line 2\nweb2: line 1\nweb2: line 2\n" || !strings.HasPrefix(r.stderr, "bbctl: logs: 2 succeeded in ") {
		t.Errorf("%+v", r)
	}
	s.want(2, "", "bbctl: run logs 2 nodes: nobody is here to be asked: say --yes (--dry-run shows which) (see bbctl run --help)\n", "run", "logs", "web*")
	s.want(0, "web1: run logs would be done (active, dc1)\n", "", "run", "logs", "web1", "--dry-run")
	s.want(3, "", "bbctl: node \"web9\": no such node: did you mean web1 or web2?\n", "run", "logs", "web9")
	if out := s.must("run", "logs", "web1", "--no-wait"); !strings.HasPrefix(out, "web1: logs queued (command ") {
		t.Error(out)
	}
	for line, want := range map[string]string{"run ": "clear_cache\nlogs\npull\n:4\n", "run logs ": "py1\nweb1\nweb2\n:4\n", "run logs web1 ": "py1\nweb2\n:4\n"} {
		if got := s.run(append([]string{"__complete"}, strings.Split(line, " ")...)...).stdout; got != want {
			t.Errorf("%q: got %q, want %q", line, got, want)
		}
	}
}
