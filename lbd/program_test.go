package lbd

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/bazbeans/bazbeans/cli"
)

// greeter is a command with a flag of its own.
func greeter(configFile string) Program {
	return Program{Commands: []Command{{
		Name: "greet", Short: "say hello", Usage: "lbd greet says hello.\n", ConfigFile: configFile,
		Bind: func(fs *pflag.FlagSet) Run {
			whom := fs.String("whom", "you", "`who` is greeted")
			return func(_ context.Context, c Call) int {
				fmt.Fprintf(c.Stdout, "hello %s from %s, %s, %s, %s", *whom, c.Config.ID, filepath.Base(c.ConfigFile), c.Output, c.Fixture)
				return 7
			}
		},
	}}}
}

func TestProgramsCommands(t *testing.T) {
	config := filepath.Join(t.TempDir(), "lbd.yaml")
	if err := os.WriteFile(config, []byte("id: lb7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args, config string
		code         int
		want         string
	}{
		{"greet --whom me --id lb1", "", 7, "hello me from lb1, ., table, "},
		{"--config " + config + " greet -o json --fixture f", "", 7, "hello you from lb7, lbd.yaml, json, f"},
		{"greet", config, 7, "hello you from lb7, lbd.yaml, table, "},
		{"greet --id lb1", config, 7, "hello you from lb1, lbd.yaml, table, "},
		{"greet --id lb1", config + ".none", 7, "hello you from lb1, ., table, "},
		{"greet --id lb1", config + "/none", 7, "going on without it"},
		{"greet them", "", cli.Usage, "one word too many (see lbd greet --help)"},
		{"check --whom me", "", cli.Usage, "--whom belongs to lbd greet"},
		{"greet --help", config, cli.Done, "lbd greet says hello.\n\nFlags:\n      --whom who   who is greeted (default \"you\")\n"},
		{"--help", "", cli.Done, "  lbd greet                 say hello\n  lbd version\n"},
	} {
		var out strings.Builder
		code := greeter(c.config).Main(t.Context(), strings.Fields(c.args), strings.NewReader(""), &out, &out)
		if code != c.code || !strings.Contains(out.String(), c.want) || strings.Contains(out.String(), "--whom who") != (c.args == "greet --help") {
			t.Errorf("lbd %s: exit code %d, want %d and %q in\n%s", c.args, code, c.code, c.want, out.String())
		}
	}
}
