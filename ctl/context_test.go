package ctl

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// contextFile is a config file with contexts, in the user's folder.
func contextFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bazbeans", "config.yaml")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("XDG_CONFIG_HOME", filepath.Dir(filepath.Dir(path)))
	return path
}

// bare runs bbctl without the flags that a site's run adds.
func bare(t *testing.T, args ...string) ran {
	t.Helper()
	var stdout, stderr screen
	code := Main(t.Context(), args, strings.NewReader(""), &stdout, &stderr)
	return ran{code, stdout.String(), stderr.String()}
}

// The order is flag, --config, context, default; a Redis on the command line is a site of its own.
func TestContexts(t *testing.T) {
	a, b := newSite(t), newSite(t)
	a.node("web1", true)
	b.node("db1", true)
	path := contextFile(t, "# mine\ncontexts:\n  prod: {redis: {url: '"+a.url+"'}, as: ann@ops, defaults: {output: json}}\n  test: {redis: {url: '"+b.url+"'}}\n")
	if r := bare(t, "list-nodes"); r.code != 2 || !strings.Contains(r.stderr, "no context is chosen: use --context, or bbctl context use NAME") || !strings.Contains(r.stderr, "prod, test") {
		t.Errorf("%+v", r)
	}
	if r := bare(t, "context", "current"); r.code != 1 {
		t.Errorf("%+v", r)
	}
	if r := bare(t, "context", "use", "prd"); r.code != 2 || !strings.Contains(r.stderr, "did you mean prod?") {
		t.Errorf("%+v", r)
	}
	for _, name := range []string{"test", "prod"} { // set, and set again
		if r := bare(t, "context", "use", name); r.code != 0 || !strings.HasPrefix(r.stdout, "context "+name+" is in use: redis at ") {
			t.Errorf("%+v", r)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil || !strings.HasPrefix(string(got), "current_context: prod\n# mine\ncontexts:\n") || strings.Count(string(got), "current_context") != 1 {
		t.Errorf("%s, %v", got, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if r := bare(t, "context", "current"); r.stdout != "prod\n" {
		t.Errorf("%+v", r)
	}
	if r := bare(t, "context", "list"); r.stdout != "CURRENT  NAME  REDIS                      AS       SIGNING KEY\n*        prod  "+a.url+"  ann@ops  -\n         test  "+b.url+"  -        -\n" {
		t.Errorf("%+v", r)
	}

	for _, c := range []struct {
		args []string
		node string
	}{
		{nil, "web1"}, {[]string{"--context", "test"}, "db1"}, {[]string{"--redis-url", b.url}, "db1"},
		{[]string{"--context", "prod", "--redis-url", b.url}, "db1"}, {[]string{"--config", path, "--context", "test"}, "db1"},
	} {
		if r := bare(t, append(c.args, "list-nodes")...); r.code != 0 || !strings.Contains(r.stdout, c.node) {
			t.Errorf("%v: %+v", c.args, r)
		}
	}
	if r := bare(t, "list-nodes"); !strings.HasPrefix(r.stdout, "[\n") { // its default
		t.Errorf("%+v", r)
	}
	if r := bare(t, "list-nodes", "-o", "table"); !strings.HasPrefix(r.stdout, "NODE") {
		t.Errorf("%+v", r)
	}
	bare(t, "freeze", "web1")
	bare(t, "freeze", "web1", "--reason", "x", "--redis-url", a.url, "--as", "bob")
	if out := a.must("events"); !strings.Contains(out, "ann@ops") {
		t.Error(out)
	}
	if r := bare(t, "__complete", "list-nodes", "--context", ""); r.stdout != "prod\ntest\n:4\n" {
		t.Errorf("%+v", r)
	}
}

func TestConfigWithSecrets(t *testing.T) {
	s := newSite(t)
	path := contextFile(t, "redis: {url: 'redis://:hush@127.0.0.1:1'}\n")
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	warns := path + " holds a password and can be read by others: chmod 600 " + path
	if r := bare(t, "list-nodes", "--redis-url", s.url); r.code != 0 || !strings.Contains(r.stderr, warns) {
		t.Errorf("%+v", r)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if r := bare(t, "list-nodes", "--redis-url", s.url); strings.Contains(r.stderr, "password") {
		t.Errorf("%+v", r)
	}
	contextFile(t, "contexts: {p: {redis: {url: 'redis://u:hush@127.0.0.1:1'}, ass: x}}\n")
	if r := bare(t, "context", "list"); r.code != 2 || !strings.Contains(r.stderr, "contexts.p.ass: unknown key (known: as, defaults, redis, signing_key)") {
		t.Errorf("%+v", r)
	}
	contextFile(t, "contexts: {p: {redis: {url: 'redis://u:hush@127.0.0.1:1'}}}\n")
	if r := bare(t, "context", "list", "-o", "json"); r.code != 0 || strings.Contains(r.stdout, "hush") || !strings.Contains(r.stdout, "redis://u:xxxxx@127.0.0.1:1") {
		t.Errorf("%+v", r)
	}
}
