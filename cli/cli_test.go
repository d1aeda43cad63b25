package cli

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

type config struct {
	Name string   `yaml:"name"`
	Port int      `yaml:"port"`
	Many []string `yaml:"many"`
}

func bind(fs *pflag.FlagSet, c *config) {
	fs.StringVar(&c.Name, "name", c.Name, "a name")
	fs.IntVar(&c.Port, "port", c.Port, "a port")
	fs.StringArrayVar(&c.Many, "many", c.Many, "many")
}

func TestFlagsBeatFileBeatsDefaults(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(file, []byte("name: file\nport: 2\nmany: [a, b]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	defaults := func() config { return config{Name: "default", Port: 1} }
	c, _, fs, err := ParseFlags("x", []string{"run", "--config", file, "--port", "3", "--many", "c"}, defaults, bind)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(c); got != "{file 3 [c]}" {
		t.Errorf("got %s", got)
	}
	if fs.Arg(0) != "run" {
		t.Errorf("arguments %v", fs.Args())
	}
	if _, _, _, err = ParseFlags("x", []string{"--prot", "3"}, defaults, bind); err == nil || !strings.Contains(err.Error(), "--prot") || Report(&bytes.Buffer{}, "x", err) != Usage {
		t.Errorf("unknown flag: %v", err)
	}
	if _, _, _, err = ParseFlags("x", []string{"--config", file + ".none"}, defaults, bind); Report(&bytes.Buffer{}, "x", err) != Usage {
		t.Errorf("missing file: %v", err)
	}
}

func TestReport(t *testing.T) {
	var out bytes.Buffer
	if code := Report(&out, "lbd", fmt.Errorf("wrap: %w", &Error{Code: Refused, Err: errors.New("held")})); code != Refused || out.String() != "lbd: wrap: held\n" {
		t.Errorf("%d %q", code, out.String())
	}
	if Report(&out, "lbd", nil) != Done || Report(&out, "lbd", errors.New("x")) != Failed {
		t.Error("codes")
	}
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"plain text":    "plain text",
		"a\x1b[31mb":    `a\x1b[31mb`,
		"l1\r\nl2\t":    `l1\r\nl2\t`,
		"\u202eevil":    `\u202eevil`,
		"größe":         "größe",
		"bad\xff":       `bad\ufffd`,
		"it's \"x\" \\": `it's "x" \`,
		"1234567":       "12345…",
	} {
		most := 40
		if in == "1234567" {
			most = 5
		}
		if got := Printable(in, most); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}
