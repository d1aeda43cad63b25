package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bazbeans/bazbeans/dev/servers"
	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
)

func TestConfdCommandLines(t *testing.T) {
	for name, c := range map[string]struct {
		help string
		want []string
	}{
		"0.16":  {"Usage of confd:\n  -backend string\n    \tbackend to use (default \"etcd\")\n  -confdir string\n", []string{"--backend", "redis"}},
		"later": {"Usage: confd <command> [flags]\n\nFlags:\n      --interval=600            backend polling interval\n\nCommands:\n  redis         Use Redis backend\n", []string{"redis"}},
	} {
		want := slices.Concat([]string{"/opt/confd"}, c.want, []string{"--node", "127.0.0.1:6379", "--confdir", "/c", "--watch"})
		if got := confdArgv("/opt/confd", c.help, "/c", "127.0.0.1:6379"); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestConfdFiles(t *testing.T) {
	web := serverstest.Nginx(t, servers.NginxOptions{})
	dir := serverstest.Dir(t)
	if err := writeConfd(dir, web); err != nil {
		t.Fatal(err)
	}
	resource, err := os.ReadFile(filepath.Join(dir, "conf.d/upstream.toml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`dest = "` + upstreamFile(web) + `"`, `check_cmd = "` + web.Binary + ` -t -p ` + web.Prefix, `reload_cmd = "kill -HUP `,
	} {
		if !strings.Contains(string(resource), want) {
			t.Errorf("no %s in:\n%s", want, resource)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "templates/upstream.conf.tmpl")); err != nil {
		t.Error(err)
	}
}
