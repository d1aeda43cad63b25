package render_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/bazbeans/bazbeans/render"
)

// Each line that a template writes is numbered with the template's line that begins it, through trims, loops and
// templates within it.
func TestTraceNamesTheLines(t *testing.T) {
	set := folder(t, map[string]string{"a.conf.tmpl": `{{- /* one
two */ -}}
{{define "line"}}server {{.Addr}};{{end -}}
upstream {{.Name}} {
{{- range .Servers}}

    {{template "line" .}}
{{- else}}
    nothing
{{- end}}
    # {{with .Name}}{{.}}
      {{- end}} end
}`})
	u := upstream(t, "least_conn")
	u.Template = "a.conf.tmpl"
	v := view(t, u, nodes(2), "lb1")
	got := set.Trace(v)
	want := fmt.Sprintf(`0 %s4 upstream app_backend {
6 
3     server %s;
6 
3     server %s;
11     # app_backend end
13 }
`, render.Header, v.Servers[0].Addr, v.Servers[1].Addr)
	var b strings.Builder
	lines := strings.SplitAfter(string(got.Text), "\n")
	for i, n := range got.Lines {
		fmt.Fprintf(&b, "%d %s", n, lines[i])
	}
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
	out, err := set.Render(v)
	if err != nil || !bytes.Equal(out, got.Text) {
		t.Errorf("%v: Render writes\n%s\nTrace\n%s", err, out, got.Text)
	}
}

// A template that fails has written something, one that does not parse has not.
func TestTraceUpToTheFault(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.conf.tmpl", "# begin\n{{.Nmae}}\n")
	write(t, dir, "b.conf.tmpl", "{{if}}")
	set, err := render.Load(dir, nil)
	if err == nil {
		t.Error("{{if}} parses")
	}
	u := upstream(t, "")
	for name, want := range map[string]string{"a.conf.tmpl": render.Header + "# begin\n", "b.conf.tmpl": ""} {
		u.Template = name
		got := set.Trace(view(t, u, nil, ""))
		if string(got.Text) != want || len(got.Lines) != strings.Count(want, "\n") {
			t.Errorf("%s wrote %q, lines %v", name, got.Text, got.Lines)
		}
	}
	if !strings.Contains(set.Text("b.conf.tmpl"), "{{if}}") || set.Text("none.tmpl") != "" {
		t.Error("the texts of templates")
	}
}
