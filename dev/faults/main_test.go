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
		"--list --only nowhere":       "no row is called nowhere",
		"--bin /no/such/bin":          "make build",
		"--engine wheels":             `--engine: "wheels" is none of [reload lua resolve], all`,
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
	if code := run(t.Context(), []string{"--list", "--engine", "all"}, nil, &stdout, &stderr); code != cli.Done || stderr.Len() > 0 {
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

func TestChoose(t *testing.T) {
	rows := []Row{{Name: "redis: a", Short: true}, {Name: "redis: b", ShortLive: onlyLua}, {Name: "lbd: c", ShortLive: bothLive}, {Name: "live: d", Engines: []string{byLua}}}
	for args, want := range map[string]string{
		"":                        "redis: a, redis: b, lbd: c; ",
		"--short":                 "redis: a, redis: b (lua), lbd: c (lua), lbd: c (resolve); redis: b, lbd: c",
		"--engine lua":            "redis: a (lua), redis: b (lua), lbd: c (lua), live: d (lua); ",
		"--engine lua --short":    "redis: a (lua); redis: b (lua), lbd: c (lua), live: d (lua)",
		"--engine all --only :.a": "redis: a, redis: a (lua), redis: a (resolve); ",
		"--only ^redis":           "redis: a, redis: b; ",
		"--only ^lbd --short":     "lbd: c, lbd: c (lua), lbd: c (resolve); ", // who names a row gets it
		"--only nobody --short":   "; ",
	} {
		o, _, err := parse(append(strings.Fields(args), "--list"))
		if err != nil {
			t.Fatal(err)
		}
		chosen, leftOut, err := choose(rows, o)
		var names []string
		for _, g := range chosen {
			names = append(names, title(g.Name, g.engine))
		}
		got := strings.Join(names, ", ") + "; " + strings.Join(leftOut, ", ")
		if got != want || (err != nil) != (len(chosen) == 0) {
			t.Errorf("%s: %s, %v; want %s", args, got, err, want)
		}
	}
}

func TestTheTableSaysWhatWasLeftOut(t *testing.T) {
	res := results{Short: true, LeftOut: []string{"redis: b", "lbd: c"}, Rows: []Result{{Name: "redis: a", Requests: 100, Control: 7, More: 30, Before: []string{"it was late (the machine stood still)"}}, {Name: "lbd: e", More: beyondAll}, {Name: "disk: d", Wrong: "it fell"}, {Name: "disk: e", Skipped: "no disk"}}}
	var table strings.Builder
	if err := res.writeTable(&table); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"4 rows, 1 failed; 100 requests", " 7 +30 ", " 0 +any ", "2 rows are left out", "left out: redis: b\n", "left out: lbd: c\n", "FAILED disk: d: it fell\n", "played again: redis: a: it was late (the machine stood still)\n", "not played: disk: e: no disk\n"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("no %q in:\n%s", want, &table)
		}
	}
}
