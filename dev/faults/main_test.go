package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/bazbeans/bazbeans/cli"
)

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "lbd" { // started by a site: see naiveBin
		fmt.Fprintln(os.Stderr, runNaive())
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

func TestWrongFlagsAreOneLine(t *testing.T) {
	for args, want := range map[string]string{
		"--shrt":                      "--shrt",
		"--only (":                    "--only: ",
		"--list --only nobody":        "no row is called nobody",
		"--bin /no/such/bin":          "make build",
		"--list more":                 `"more" is one word too many`,
		"--bin /no/such --out /dev/x": "make build",
	} {
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), strings.Fields(args), nil, &stdout, &stderr)
		said := stderr.String()
		if code != cli.Usage || !strings.Contains(said, want) || strings.Count(said, "\n") != 1 || stdout.Len() > 0 {
			t.Errorf("%s: exit code %d and %q, want %d and one line with %q", args, code, said, cli.Usage, want)
		}
	}
}

func TestListNamesEveryRow(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"--list"}, nil, &stdout, &stderr); code != cli.Done || stderr.Len() > 0 {
		t.Fatalf("exit code %d, %s", code, &stderr)
	}
	words := strings.Join(strings.Fields(stdout.String()), " ")
	names := map[string]bool{}
	for _, r := range allRows() {
		if names[r.Name] {
			t.Errorf("two rows are called %q", r.Name)
		}
		names[r.Name] = true
		if fault, _, _ := strings.Cut(r.Name, " "); !strings.Contains(words, fault) {
			t.Errorf("no %q in:\n%s", fault, &stdout)
		}
		if r.Does == "" || r.MustHold == "" || r.Run == nil {
			t.Errorf("%q does not say what is done, or what must hold", r.Name)
		}
	}
}
