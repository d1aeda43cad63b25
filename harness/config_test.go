package harness

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bazbeans/bazbeans/lbd"
)

const twoUpstreams = `
id: lb1
redis: {url: "redis://127.0.0.1:1/0", password_file: /nonexistent} # nobody asks it
templates: TEMPLATES
nginx: {conf: /nonexistent/nginx.conf, pid: /nonexistent/nginx.pid}
upstreams:
  - {name: shop, output: /etc/nginx/conf.d/shop.conf, template: shop.conf.tmpl, select: {labels: {app: shop}}, port_from: label:http}
  - {name: blog, output: /etc/nginx/conf.d/blog.conf, balance: ip_hash, select: {data_center: [dc2]}}
`

// configured is a config with a template, and nodes as /status shows them.
func configured(t *testing.T, template string) (config, fixture string) {
	dir := files(t, map[string]string{
		"templates/shop.conf.tmpl": template,
		"status.json": `{"id": "lb1", "rev": 7, "nodes": [
  {"id": "shop1", "address": "10.0.1.10", "data_center": "dc1", "labels": {"app": "shop", "http": "8080"}, "state": "active"},
  {"id": "shop2", "address": "10.0.1.11", "data_center": "dc1", "labels": {"app": "shop", "http": "8081"}, "state": "frozen"},
  {"id": "blog1", "address": "fd00::10", "data_center": "dc2", "state": "active"},
  {"id": "lost", "address": "", "data_center": "dc2", "state": "active"}]}`,
	})
	config = filepath.Join(dir, "lbd.yaml")
	text := strings.Replace(twoUpstreams, "TEMPLATES", filepath.Join(dir, "templates"), 1)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return config, filepath.Join(dir, "status.json")
}

const plainTemplate = "upstream {{.Name}} {\n    {{with .Balance}}{{.}};{{end}}\n{{- range .Servers}}\n    server {{.Addr}}{{.Params}};\n{{- end}}\n}\n"

// The upstreams of a config are played together, with all their own settings: with nodes that are made for them, or those
// of a fixture. Its templates are played with all cases.
func TestConfigsUpstreams(t *testing.T) {
	config, fixture := configured(t, plainTemplate)
	wants := map[string]map[string]string{
		"made": {"config: shop": "sample1-1 20, sample1-2 20, sample1-3 20", "config: blog": "sample2-"},
		"read": {"fixture: shop": "shop1 20", "fixture: blog": "blog1 20"},
	}
	for name, want := range wants {
		args := []string{"--config", config, "--only", "one-node", "--only", "config", "--only", "fixture"}
		if name == "read" {
			args = append(args, "--fixture", fixture)
		}
		code, r := rows(t, args...)
		if code != 0 || len(r.Results) != 4 { // one-node with both templates
			t.Errorf("exit code %d: %+v", code, r)
		}
		for _, row := range r.Results {
			if row.Case != "one-node" && (want[row.Case] == "" || !strings.HasPrefix(row.Went, want[row.Case])) {
				t.Errorf("%s %s: went to %s", row.Template, row.Case, row.Went)
			}
		}
		if name == "read" && !strings.Contains(strings.Join(r.Notes, "\n"), "lost is refused: the fixture gives it no address") {
			t.Errorf("notes: %q", r.Notes)
		}
	}
}

// Without --config the one of this host is read, if there is one; flags beat it.
func TestConfigOfTheHost(t *testing.T) {
	config, _ := configured(t, plainTemplate)
	c := Command
	c.ConfigFile = config
	for args, want := range map[string]string{"": "shop.conf.tmpl", "--templates " + t.TempDir(): "there is no template shop.conf.tmpl"} {
		var out, said strings.Builder
		words := append([]string{"test", "--only", "one-node", "--nginx", "none"}, strings.Fields(args)...)
		lbd.Program{Commands: []lbd.Command{c}}.Main(t.Context(), words, strings.NewReader(""), &out, &said)
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q: want %s in\n%s%s", args, want, out.String(), said.String())
		}
	}
}

// What lbd refuses of a fixture's nodes, which may be other people's words, is never given to Nginx.
func TestRefusedFixtureIsNotGivenToNginx(t *testing.T) {
	config, fixture := configured(t, plainTemplate+"include /etc/shadow;\n")
	code, out, _ := lbdTest(t, "--config", config, "--fixture", fixture, "--only", "fixture")
	if code != 1 || !strings.Contains(out, "nginx: not asked: what lbd refuses") || strings.Contains(out, "[emerg]") {
		t.Errorf("exit code %d\n%s", code, out)
	}
}

// A fixture is one more case for each template of a folder without a config, too.
func TestFixtureWithFolder(t *testing.T) {
	_, fixture := configured(t, plainTemplate)
	code, r := rows(t, "--templates", filepath.Join(filepath.Dir(fixture), "templates"), "--fixture", fixture, "--only", "fixture")
	if code != 0 || len(r.Results) != 1 || r.Results[0].Template != "shop.conf.tmpl" || r.Results[0].Went != "blog1 20, shop1 20" {
		t.Errorf("exit code %d: %+v", code, r)
	}
}
