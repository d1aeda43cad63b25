package render_test

import (
	"net/netip"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/bazbeans/bazbeans/render"
)

// example is a worked example of docs/templates.md: a template, and right behind it what it writes.
type example struct{ name, template, output string }

// fixture is what `lbd render --fixture` takes, as far as rendering goes.
type fixture struct {
	Nodes []struct {
		ID, Address string
		Port        uint16
		Weight      int
		DataCenter  render.Text `yaml:"data_center"`
		Labels      map[string]render.Text
	}
}

var fence = regexp.MustCompile("(?ms)^```(\\S+) *(\\S*)\n(.*?)^```$")

// page reads docs/templates.md: its text, its examples and the servers of its fixture.
func page(t testing.TB) (text string, examples []example, servers []render.Server) {
	t.Helper()
	b, err := os.ReadFile("../docs/templates.md")
	if err != nil {
		t.Fatal(err)
	}
	text = string(b)
	for _, block := range fence.FindAllStringSubmatch(text, -1) {
		switch kind, name, body := block[1], block[2], block[3]; {
		case kind == "tmpl":
			examples = append(examples, example{name: name, template: body})
		case kind == "nginx":
			examples[len(examples)-1].output = body
		case name == "fixture":
			var f fixture
			if err := yaml.Unmarshal([]byte(body), &f); err != nil {
				t.Fatal(err)
			}
			for _, n := range f.Nodes {
				servers = append(servers, render.Server{ID: n.ID, Addr: netip.AddrPortFrom(netip.MustParseAddr(n.Address), n.Port),
					Weight: n.Weight, DataCenter: n.DataCenter, Labels: n.Labels})
			}
		}
	}
	if len(examples) != 3 || len(servers) != 3 {
		t.Fatalf("the page has %d examples and %d nodes, want 3 and 3", len(examples), len(servers))
	}
	return text, examples, servers
}

// exampleSet is the page's examples as lbd would load them, beside the built-in templates.
func exampleSet(t testing.TB, examples []example) *render.Set {
	files := map[string]string{}
	for _, e := range examples {
		files[e.name] = e.template
	}
	return folder(t, files)
}

func TestPageExamples(t *testing.T) {
	_, examples, servers := page(t)
	set := exampleSet(t, examples)
	for _, e := range examples {
		u := upstream(t, "least_conn")
		u.Template = e.name
		out, err := set.Render(view(t, u, servers, "lb1"))
		if err != nil {
			t.Errorf("%s: %v", e.name, err)
			continue
		}
		if got := strings.TrimPrefix(string(out), render.Header); got != e.output {
			t.Errorf("%s writes\n%s\nthe page says\n%s", e.name, got, e.output)
		}
		nginxTest(t, out)
		for _, less := range [][]render.Server{nil, servers[1:2], servers[2:]} { // none, only the canary, only dc2
			out, err := set.Render(view(t, u, less, "lb1"))
			if err != nil {
				t.Errorf("%s with less nodes: %v", e.name, err)
			}
			nginxTest(t, out)
		}
	}
}

// What templates can use stands on the page.
func TestPageIsComplete(t *testing.T) {
	text, _, _ := page(t)
	for _, typ := range []reflect.Type{reflect.TypeFor[render.View](), reflect.TypeFor[render.Line]()} {
		for _, field := range reflect.VisibleFields(typ) {
			if field.IsExported() && !strings.Contains(text, "`."+field.Name+"`") {
				t.Errorf("field .%s of %s is not on the page", field.Name, typ)
			}
		}
		for method := range typ.Methods() {
			if !strings.Contains(text, "`."+method.Name+" ") {
				t.Errorf("method .%s of %s is not on the page", method.Name, typ)
			}
		}
	}
	for _, name := range render.FunctionNames() {
		if !regexp.MustCompile("`" + name + "[` ]").MatchString(text) {
			t.Errorf("function %s is not on the page", name)
		}
	}
}
