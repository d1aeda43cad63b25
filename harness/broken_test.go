package harness

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var updateReports = flag.Bool("update-reports", false, "write testdata/broken")

// broken are templates as people break them.
var broken = map[string]string{
	"syntax": `upstream {{.Name}} {
{{- range .Servers}}
    server {{.Addr}}{{.Params};
{{- end}}
}
`,
	"unknown-field": `upstream {{.Name}} {
{{- range .Servers}}
    server {{.Addr}}{{.Params}};
{{- end}}
}
# {{.Nmae}}
`,
	"unbalanced-brace": `upstream {{.Name}} {
{{- range .Servers}}
    server {{.Addr}}{{.Params}};
{{- end}}
`,
	"wrong-place": `{{/* Workers of our own. */ -}}
upstream {{.Name}} {
{{- range .Servers}}
    server {{.Addr}}{{.Params}};
{{- end}}
}

worker_processes 2;
`,
	"wrong-place-in-upstream": `upstream {{.Name}} {
{{- range .Servers}}
    server {{.Addr}}{{.Params}};
{{- end}}
    proxy_read_timeout 5s;
}
`,
	"empty-upstream": `upstream {{.Name}} {
{{- range .Nodes}}
    server {{.Addr}}{{.Params}};
{{- end}}
}
`,
	"missing-include": `include snippets/limits.conf;
upstream {{.Name}} {
{{- range .Servers}}
    server {{.Addr}}{{.Params}};
{{- end}}
}
`,
}

// A broken template is reported with its file and line, with what lbd and Nginx say, and with the lines around: the whole
// text is held.
func TestBrokenTemplates(t *testing.T) {
	cases := files(t, map[string]string{"frozen.yaml": `
shows: a node is frozen
nodes:
  - {id: web1, address: 10.0.1.10, port: 8000}
  - {id: web2, address: 10.0.1.11, port: 8000, state: frozen}
want: {traffic: [web1]}
`, "none.yaml": "shows: no node\n"})
	for name, text := range broken {
		t.Run(name, func(t *testing.T) {
			templates := files(t, map[string]string{"mine.conf.tmpl": text})
			code, out, said := lbdTest(t, "--templates", templates, "--cases", cases, "--only", "none")
			if code != 1 || said != "" {
				t.Errorf("exit code %d: %s", code, said)
			}
			_, report, _ := strings.Cut(out, "\nFAILED ")
			report, _, _ = strings.Cut(report, "\n\n1 FAILED")
			n, err := FindNginx(t.Context(), "nginx", nil)
			if err != nil {
				t.Fatal(err)
			}
			report = strings.NewReplacer(templates, "/etc/lbd/templates", n.Version, "VERSION").Replace(report) + "\n"
			file := filepath.Join("testdata", "broken", name+".txt")
			if *updateReports {
				if err := os.WriteFile(file, []byte(report), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil || report != string(want) {
				t.Errorf("%v: reported\n%s\nwant\n%s\nall of it:\n%s", err, report, want, out)
			}
		})
	}
}

// What is broken in the same way in many cases is told once.
func TestBrokenIsToldOnce(t *testing.T) {
	templates := files(t, map[string]string{"mine.conf.tmpl": broken["unbalanced-brace"]})
	code, out, _ := lbdTest(t, "--templates", templates)
	if n := strings.Count(out, "unexpected end of file"); code != 1 || n != 2 { // by lbd and by Nginx
		t.Errorf("exit code %d, told %d times:\n%s", code, n, out)
	}
}
