package nginxtest

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

// want checks how a command ended: exit code and texts, of stdout and stderr together.
func (r result) want(t testing.TB, code int, texts ...string) {
	t.Helper()
	if r.code != code || !containsAll(r.stdout+r.stderr, texts...) {
		t.Errorf("want exit code %d with %q, got %v", code, texts, r)
	}
}

// once, check and render: what they say, how they end, and that the last two change nothing.
func TestCommandsOfLbd(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{nodes: []string{"web1", "web2"}})
	template := filepath.Join(s.dir, "lb1/templates/upstream.conf.tmpl")

	s.run("once").want(t, 1, "another lbd", "stop it") // two of them would undo each other's work
	s.lbd.stop()
	s.run("once").want(t, 0, "unchanged\n")
	s.run("render", "--diff").want(t, 0)
	s.run("check").want(t, 0, "config", "templates", "redis", "resolvers", "render", "nginx -t")

	s.bbctl("freeze", "web1")
	wantUntouched := s.fileAsItIs()
	s.run("check").want(t, 0)
	if r := s.run("render"); r.code != 0 || strings.Contains(r.stdout, s.nodes["web1"].app.Addr()) || !strings.Contains(r.stdout, "server "+s.nodes["web2"].app.Addr()) {
		t.Errorf("render of a pool with web2 alone: %v", r)
	}
	s.run("render", "--diff").want(t, 1, "\n-", s.nodes["web1"].app.Addr())
	wantUntouched()
	s.run("once").want(t, 0, "changed\n")
	s.wantAnswersFrom("web2")
	s.run("render", "--diff").want(t, 0)

	// All are frozen: the guard keeps a server against the pool's word.
	s.bbctl("freeze", "web2")
	s.run("once").want(t, 5, "min_nodes")
	s.wantAnswersFrom("web2")
	s.bbctl("unfreeze", "web1", "web2")
	s.run("once").want(t, 0, "changed\n")

	write(t, template, "upstream {{.Name}} {\n{{range .Servers}}")
	wantUntouched = s.fileAsItIs()
	s.run("check").want(t, 1, "FAIL", "upstream.conf.tmpl:2")
	s.run("render").want(t, 1, "upstream.conf.tmpl:2")
	s.run("render", "--diff").want(t, 2, "upstream.conf.tmpl:2")
	s.run("once").want(t, 1, "upstream.conf.tmpl:2")
	wantUntouched()
	write(t, template, site7)

	s.killRedis()
	s.run("check").want(t, 1, "FAIL", "redis", s.redis.Addr())
	s.run("render").want(t, 1, "redis", s.redis.Addr())
	s.run("render", "--diff").want(t, 2, "redis", s.redis.Addr())
	s.run("once").want(t, 1, "redis", s.redis.Addr())
	wantUntouched()
}

// A fixture is /status's `nodes`, in YAML or JSON, and needs no Redis.
func TestRenderOfAFixture(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{nodes: []string{"web1", "web2"}})
	live := read(t, s.output)
	_, body, _, err := get(t.Context(), s.url+"/status")
	if err != nil {
		t.Fatal(err)
	}
	s.lbd.stop()
	s.killRedis()
	fixture := filepath.Join(s.dir, "nodes")
	write(t, fixture, body)
	s.run("render", "--diff", "--fixture", fixture).want(t, 0)
	if r := s.run("render", "--fixture", fixture); r.code != 0 || r.stdout != live {
		t.Errorf("%v\nwant what is served:\n%s", r, live)
	}
	var status struct{ Nodes json.RawMessage }
	if err := json.Unmarshal([]byte(body), &status); err != nil {
		t.Fatal(err)
	}
	write(t, fixture, string(status.Nodes)) // the list alone
	s.run("render", "--diff", "--fixture", fixture).want(t, 0)

	write(t, fixture, "- {id: a, address: 127.0.0.5, port: 81}\n- {id: b, address: 127.0.0.6, weight: 3}\n- {id: c, address: 127.0.0.7, state: frozen}\n")
	r := s.run("render", "--fixture", fixture)
	r.want(t, 0, "server 127.0.0.5:81", "server 127.0.0.6:8000 weight=3")
	if strings.Contains(r.stdout, "127.0.0.7") {
		t.Errorf("a frozen node is rendered: %v", r)
	}
	s.run("render", "--diff", "--fixture", fixture).want(t, 1, "+", "127.0.0.5:81")
	for text, says := range map[string]string{
		"- {id: a, address: localhost}\n":            "localhost",
		"- {id: 'a b', address: 127.0.0.5}\n":        "a b",
		"- {id: a, address: 127.0.0.5, state: up}\n": "state",
		"nonsense": "nodes",
	} {
		write(t, fixture, text)
		s.run("render", "--fixture", fixture).want(t, 2, fixture, says)
	}
	s.run("render", "--fixture", fixture+"2").want(t, 2, fixture+"2")
	s.run("render", "--diff", "--fixture", fixture+"2").want(t, 2, fixture+"2")
}
