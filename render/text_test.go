package render_test

import (
	"strings"
	"testing"

	"github.com/bazbeans/bazbeans/render"
)

// nasty are texts that ended words, statements or comments in other people's templates.
var nasty = []string{
	"dc1; server 6.6.6.6:80;", "dc1 } server {", "a\nserver 6.6.6.6:80;", "a\rb", "#", "a#b", "$uri", "${uri}", `a\`, `a"b`, `a'b`, "\\\"",
	"\x00", "\x1b[31m", "\xff\xfe", "\u2028", "\u202e", "\ufeff", "ü", "{{.Name}}", "%s%n", "include", "", " ", strings.Repeat("ab;", 1000),
}

// printed executes one action on a node with that data center.
func printed(t testing.TB, action string, dc render.Text) (string, error) {
	t.Helper()
	set := folder(t, map[string]string{"t.tmpl": `{{with index .Nodes 0}}# [` + action + `]
{{end}}upstream app_backend { {{range .Servers}}server {{.Addr}}{{.Params}};{{end}} }`})
	s := node("a", "10.0.0.1:80")
	s.DataCenter, s.Labels = dc, map[string]render.Text{"zone": dc}
	u := upstream(t, "least_conn")
	u.Template = "t.tmpl"
	out, err := set.Render(view(t, u, []render.Server{s}, ""))
	if err != nil {
		return "", err
	}
	_, rest, _ := strings.Cut(string(out), "# [")
	text, _, ok := strings.Cut(rest, "]\nupstream")
	if !ok {
		t.Fatalf("%s on %q broke out of its place: %s", action, dc, out)
	}
	return text, nil
}

func TestTextPrintsHarmless(t *testing.T) {
	for in, want := range map[render.Text]string{
		"dc-1.eu_west/a:b@c+d": "dc-1.eu_west/a:b@c+d",
		"dc 1;":                "dc_1_",
		"münchen":              "m_nchen",
		"a\xffb\n":             "a_b_",
		`{}#$\"'`:              "_______",
		"":                     "",
	} {
		if got, err := printed(t, `{{.DataCenter}}`, in); err != nil || got != want {
			t.Errorf("%q prints as %q, %v; want %q", in, got, err, want)
		}
	}
	if got, _ := printed(t, `{{.DataCenter}}`, render.Text(strings.Repeat("ü", 1000))); got != strings.Repeat("_", 128) {
		t.Errorf("a long text prints as %d bytes, want 128", len(got))
	}
}

// Whatever prints a text prints it harmless.
func TestNoWayAroundHarmless(t *testing.T) {
	for _, action := range []string{
		`{{.DataCenter}}`, `{{print .DataCenter}}`, `{{println .DataCenter | len}}`, `{{printf "%s" .DataCenter}}`, `{{printf "%d" .DataCenter}}`,
		`{{printf "%x" .DataCenter}}`, `{{printf "%v" .DataCenter}}`, `{{printf "%#v" .DataCenter}}`, `{{printf "%!" .DataCenter}}`,
		`{{printf "x" .DataCenter}}`, `{{printf "%*d" .DataCenter 1}}`, `{{.Labels}}`, `{{printf "%+v" .Labels}}`, `{{.Labels.zone}}`,
		`{{index .Labels "zone"}}`, `{{.Label "zone"}}`, `{{.Label "rack" .DataCenter}}`, `{{slice .DataCenter 0}}`, `{{or .DataCenter "x"}}`,
		`{{default "x" .DataCenter}}`, `{{.DataCenter.String}}`, `{{with .DataCenter}}{{.}}{{end}}`, `{{$x := .DataCenter}}{{$x}}`,
		`{{range .Labels}}{{.}}{{end}}`, `{{.}}`, `{{printf "%#v" .}}`,
	} {
		for _, in := range nasty {
			got, err := printed(t, action, render.Text(in))
			if err != nil {
				t.Fatalf("%s: %v", action, err)
			}
			// Brackets and the like come from printing maps and structs; none of them has to do with the text.
			for _, bad := range []string{";", "\n", "\r", "$", "\\", "#", "server 6.6.6.6"} {
				if strings.Contains(got, bad) {
					t.Errorf("%s on %q prints %q", action, in, got)
				}
			}
		}
	}
}

func TestQuoteAndComment(t *testing.T) {
	for _, c := range []struct {
		action, want string
		in           render.Text
	}{
		{`{{quote .DataCenter}}`, `"a b;c{d}#é'"`, "a b;c{d}#é'"},
		{`{{quote .DataCenter}}`, `"a\"b\\"`, `a"b\`},
		{`{{quote .DataCenter}}`, `"_uri _ _ _"`, "$uri \n \xff \u202e"},
		{`{{quote .DataCenter}}`, `""`, ""},
		{`{{quote .Port}}{{quote .ID}}{{quote "x y"}}`, `"80""a""x y"`, ""},
		{`{{comment "node" .ID .DataCenter}}`, `# node a x; y _ "z"`, "x; y \n \"z\""},
		{`{{comment .DataCenter}}`, `# `, ""},
	} {
		if got, err := printed(t, c.action, c.in); err != nil || got != c.want {
			t.Errorf("%s on %q: %q, %v; want %q", c.action, c.in, got, err, c.want)
		}
	}
}

func TestTextCompares(t *testing.T) {
	for action, want := range map[string]string{
		`{{eq .DataCenter "dc 1;"}}`:               "true",
		`{{eq .DataCenter "dc_1_"}}`:               "false",
		`{{ne .DataCenter (.Label "zone")}}`:       "false",
		`{{hasPrefix "dc " .DataCenter}}`:          "true",
		`{{hasPrefix "dc_" .DataCenter}}`:          "false",
		`{{eq (default "x" .DataCenter) "dc 1;"}}`: "true",
		`{{default "x" (.Label "rack")}}`:          "x",
		`{{default 5 0}}{{default 5 6}}`:           "56",
		`{{add 2 (mul 3 .Weight)}}`:                "5",
	} {
		if got, err := printed(t, action, "dc 1;"); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", action, got, err, want)
		}
	}
}
