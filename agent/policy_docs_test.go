package agent

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/bazbeans/bazbeans/conf"
)

// The pages about commands name every setting, and what they show as a config is one.
func TestPolicyDocs(t *testing.T) {
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```")
	for name, least := range map[string]int{"commands.md": 1, "trust.md": 1} {
		b, err := os.ReadFile("../docs/" + name)
		if err != nil {
			t.Fatal(err)
		}
		page := string(b)
		found := blocks.FindAllStringSubmatch(page, -1)
		if len(found) < least {
			t.Errorf("%s shows %d configs", name, len(found))
		}
		for _, m := range found {
			cfg := Defaults()
			if err := conf.Decode([]byte(m[1]), &cfg); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			cfg.Exec.User, cfg.CommandsDir = "", "" // of the example's machine
			for i, k := range cfg.TrustedKeys {
				if strings.HasPrefix(k, "@") {
					cfg.TrustedKeys[i] = cfg.TrustedKeys[0]
				}
			}
			if _, err := cfg.prepare(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if name != "commands.md" {
			continue
		}
		for f := range reflect.TypeFor[Policy]().Fields() {
			if key := f.Tag.Get("yaml"); !strings.Contains(page, "\n| `"+key+"` | ") {
				t.Errorf("%s has no row for %s", name, key)
			}
		}
		for _, kind := range (&Agent{}).ownTypes() {
			if !strings.Contains(page, "`"+kind+"`") {
				t.Errorf("%s does not know the command %s", name, kind)
			}
		}
	}
}

func (a *Agent) ownTypes() (types []string) {
	for kind := range a.ownHandlers() {
		types = append(types, kind)
	}
	return types
}
