package conf

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

type even int

func (e *even) UnmarshalYAML(n *yaml.Node) error {
	var i int
	if err := n.Decode(&i); err != nil {
		return err
	}
	if i%2 != 0 {
		return Errorf(n, "%d is not even", i)
	}
	*e = even(i)
	return nil
}

type settings struct {
	Name   string        `yaml:"name"`
	Every  time.Duration `yaml:"every"`
	Ports  []int         `yaml:"ports"`
	Even   even          `yaml:"even"`
	Nested struct {
		Secret string            `yaml:"secret"`
		Labels map[string]string `yaml:"labels"`
		On     bool              `yaml:"heartbeat_on"`
	} `yaml:"nested"`
}

func TestDecode(t *testing.T) {
	t.Setenv("BAZ_SECRET", "a: b # }")
	s := settings{Every: time.Second}
	err := Decode([]byte("name: lb1\nports: [1, 2]\neven: 4\nnested: {secret: '${BAZ_SECRET}', labels: {zone: a}}\n"), &s)
	if err != nil {
		t.Fatal(err)
	}
	if s.Name != "lb1" || s.Every != time.Second || len(s.Ports) != 2 || s.Even != 4 || s.Nested.Secret != "a: b # }" || s.Nested.Labels["zone"] != "a" {
		t.Fatalf("decoded %+v", s)
	}
	if err := Decode(nil, &s); err != nil {
		t.Fatalf("an empty file: %v", err)
	}
}

func TestAllErrorsAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.yaml")
	text := "name: [1]\nevery: soon\nportz: 1\neven: 3\nports:\n  - x\nnested:\n  secret: ${NOT_SET_AT_ALL}\n  heartbeatOn: true\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	err := Load(path, &settings{})
	if err == nil {
		t.Fatal("no error")
	}
	want := []string{
		path + ":1: name: not allowed: seq, want a text",
		path + ":2: every: not allowed: str `soon`, want a time like 10s or 1m30s",
		path + ":3: portz: unknown key (known: even, every, name, nested, ports)",
		path + ":4: even: 3 is not even",
		path + ":6: ports[0]: not allowed: str `x`, want a number (int)",
		path + ":8: nested.secret: the environment variable NOT_SET_AT_ALL is not set",
		path + ":9: nested.heartbeatOn: unknown key (did you mean \"heartbeat_on\"?)",
	}
	if got := err.Error(); got != strings.Join(want, "\n") {
		t.Fatalf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

func TestBadYAML(t *testing.T) {
	for text, want := range map[string]string{"a: [": "line 1", "a: 1\n---\nb: 2\n": "only one YAML document", "- 1\n": "line 1", "  x y\na: 1\n": "line 2"} {
		if err := Decode([]byte(text), &settings{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %s", text, err, want)
		}
	}
}

func TestDecodeNode(t *testing.T) {
	var doc struct {
		Parts []yaml.Node `yaml:"parts"`
	}
	if err := yaml.Unmarshal([]byte("parts:\n  - {name: a, ports: [1]}\n  - name: ab\n    nmae: b\n    every: 3\n"), &doc); err != nil {
		t.Fatal(err)
	}
	var s settings
	if err := DecodeNode(&doc.Parts[0], "", &s); err != nil || s.Name != "a" || len(s.Ports) != 1 {
		t.Errorf("%+v, %v", s, err)
	}
	err := DecodeNode(&doc.Parts[1], "parts[1]", &s)
	if err == nil || !strings.HasPrefix(err.Error(), "line 4: parts[1].nmae: unknown key") || !strings.Contains(err.Error(), "\nline 5: parts[1].every: ") {
		t.Errorf("%v", err)
	}
	if err := InFile("x.yaml", err); !strings.HasPrefix(err.Error(), "x.yaml:4: parts[1].nmae: ") || !strings.Contains(err.Error(), "\nx.yaml:5: ") {
		t.Errorf("%v", err)
	}
}
