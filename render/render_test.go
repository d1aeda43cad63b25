package render_test

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bazbeans/bazbeans/render"
	"github.com/bazbeans/bazbeans/step"
)

// Every error of a template names the file, and the line where text/template knows it.
func TestRenderErrors(t *testing.T) {
	for name, c := range map[string]struct{ template, want string }{
		"field":       {"\n{{.NoSuchField}}", `/t.tmpl:2:2: executing`},
		"node field":  {"{{range .Nodes}}\n{{.Nope}}{{end}}", `/t.tmpl:2:2: executing`},
		"no label":    {"{{range .Nodes}}{{.Labels.zone}}{{end}}", `map has no entry for key "zone"`},
		"no template": {`{{template "upstream.conf.tmpl" .}}`, `/t.tmpl:1:11: executing`},
		"recursion":   {`{{define "a"}}x{{template "a" .}}{{end}}{{template "a" .}}`, "maximum template depth"},
		"endless":     {`{{range 1000000}}{{range 1000000}}aaaaaaaaaa{{end}}{{end}}`, "/t.tmpl: the output is larger than 16777216 bytes"},
		"not Nginx":   {"upstream app_backend {", `/t.tmpl: parse output: line 3: unexpected end of file`},
		"unchecked":   {"upstream app_backend { server 10.6.6.6:80; }", `t.tmpl: line 2 of the output: "server 10.6.6.6:80" is none of`},
		"empty":       {"", "t.tmpl: the output has no block `upstream app_backend`"},
	} {
		set := folder(t, map[string]string{"t.tmpl": c.template})
		out, err := try(t, set, "t.tmpl")
		if err == nil || out != "" || !strings.Contains(err.Error(), c.want) || step.Of(err) != step.Render {
			t.Errorf("%s: %.200q, %v; want %q at step render", name, out, err, c.want)
		}
	}
	_, err := try(t, load(t, "", nil), "other.tmpl")
	if err == nil || err.Error() != `render: upstream app_backend: no template "other.tmpl" (there is upstream.conf.tmpl)` {
		t.Errorf("unknown template: %v", err)
	}
}

func TestRenderFrame(t *testing.T) {
	out, err := try(t, folder(t, map[string]string{"t.tmpl": strings.TrimSpace(good)}), "t.tmpl")
	if err != nil || out != render.Header+"upstream app_backend { server 10.0.0.0:8000; }\n" {
		t.Errorf("%q, %v; want the header first and a newline at the end", out, err)
	}
	if !strings.HasPrefix(render.Header, "#") || strings.Count(render.Header, "\n") != 1 {
		t.Errorf("the header %q is not one comment line", render.Header)
	}
}

// No view that NewView did not make can be rendered.
func TestRenderNeedsNewView(t *testing.T) {
	if out, err := load(t, "", nil).Render(render.View{Name: "x; include /etc/passwd"}); err == nil {
		t.Errorf("rendered %q", out)
	}
}

// The templates of the folder and the built-in ones know the same functions.
func TestClosedFunctions(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"html", "js", "urlquery", "call", "env", "file", "now", "exec"} {
		write(t, dir, "t.tmpl", "{{"+name+" 1}}")
		if _, err := render.Load(dir, nil); err == nil || !strings.Contains(err.Error(), filepath.Join(dir, "t.tmpl:1: function \""+name+"\" not defined")) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func BenchmarkRender(b *testing.B) {
	set := load(b, "", nil)
	u, servers := upstream(b, "least_conn"), nodes(10000)
	var out []byte
	for b.Loop() {
		var err error
		if out, err = set.Render(view(b, u, servers, "lb1")); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(bytes.Count(out, []byte("\n"))), "lines")
}
