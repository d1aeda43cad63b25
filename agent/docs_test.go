package agent

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// The operator's page must name every setting with its default, and quote the example that compiles.
func TestDocs(t *testing.T) {
	read := func(name string) string {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	page := read("../docs/agent.md")

	_, body, _ := strings.Cut(read("example_test.go"), "func Example() {\n")
	body = strings.TrimSuffix(body, "}\n")
	quoted := strings.TrimPrefix(strings.ReplaceAll("\n"+body, "\n\t", "\n"), "\n")
	if !strings.Contains(page, "```go\n"+quoted+"```\n") {
		t.Errorf("docs/agent.md does not quote the body of Example:\n%s", quoted)
	}

	cfg := Defaults()
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	bind(flags, &cfg)
	for f := range reflect.TypeFor[Config]().Fields() {
		key := f.Tag.Get("yaml")
		name := map[string]string{"redis": "redis-url", "labels": "label"}[key]
		if name == "" {
			name = strings.ReplaceAll(key, "_", "-")
		}
		if key == "-" || key == ",inline" { // TestPolicyDocs
			continue
		}
		flag := flags.Lookup(name)
		if flag == nil { // only in a file
			if !strings.Contains(page, "| `"+key+"` | |") {
				t.Errorf("docs/agent.md has no row for %s, which has no flag --%s", key, name)
			}
			continue
		}
		row := "| `" + key + "` | `--" + name
		i := strings.Index(page, row)
		if i < 0 {
			t.Errorf("docs/agent.md has no row %q", row)
			continue
		}
		line, _, _ := strings.Cut(page[i:], "\n")
		if flag.DefValue != "" && !strings.Contains(line, "| `"+flag.DefValue+"` |") {
			t.Errorf("docs/agent.md does not say that the default of %s is %s", key, flag.DefValue)
		}
	}
}
