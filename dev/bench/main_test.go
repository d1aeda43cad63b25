package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/bazbeans/bazbeans/cli"
)

// TestMain is also the program beside HAProxy, which a contender starts as another copy of itself.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == follower {
		cli.Main(run)
	}
	goleak.VerifyTestMain(m)
}

func TestWrongFlagsAreOneLine(t *testing.T) {
	out := "--out=" + t.TempDir()
	for args, want := range map[string]string{
		"--cylces 3":                      "--cylces",
		"--cycles many":                   "--cycles",
		"--cycles 0":                      "--cycles 0: at least 1",
		"--conns 0":                       "--conns 0",
		"--nodes 1":                       "--nodes 1: 2 to 250",
		"--nodes 300":                     "--nodes 300",
		"--post 1.5":                      "--post 1.5",
		"--post NaN":                      "--post NaN",
		"--rate 20":                       "--rate 20: 8 nodes need at least 80",
		"--rate NaN":                      "--rate NaN",
		"--only lua,luu":                  "--only luu: want some of floor,lbd,lua,",
		"--live-cycles 3":                 "--live-cycles 3: at least --cycles, 50",
		"--updates 10":                    "--updates 10",
		"--rounds 0":                      "--rounds 0",
		"--lbd sh --wrk /no/such/wrk":     "--wrk: exec: \"/no/such/wrk\": stat /no/such/wrk: no such file or directory (install wrk, or name what to measure with --only)",
		"--lbd sh --haproxy /no/haproxy":  "(install haproxy, or name",
		"--lbd /no/such/lbd":              "--lbd: exec: \"/no/such/lbd\"",
		"--lbd sh --confd /no/such/confd": "--confd: exec: \"/no/such/confd\"",
		"--lbd sh --confd false":          "that is no confd",
		"--lbd sh --out /dev/null/x":      "--out: ",
		"more":                            `"more" is one word too many`,
	} {
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), append([]string{out}, strings.Fields(args)...), nil, &stdout, &stderr)
		said := stderr.String()
		if code != cli.Usage || !strings.Contains(said, want) || strings.Count(said, "\n") != 1 || stdout.Len() > 0 {
			t.Errorf("%s: exit code %d and %q, want %d and one line with %q", args, code, said, cli.Usage, want)
		}
	}
}

func TestHelp(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"--help"}, nil, &stdout, &stderr); code != cli.Done || stderr.Len() > 0 {
		t.Errorf("exit code %d, %s", code, &stderr)
	}
	for _, want := range []string{"make bench", "--cycles", "--confd", "--only", "throughput"} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("no %s in:\n%s", want, &stdout)
		}
	}
}
