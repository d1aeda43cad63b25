package main

import (
	"strings"
	"testing"

	"github.com/bazbeans/bazbeans/dev/load"
)

func TestOptions(t *testing.T) {
	for line, want := range map[string]string{
		"nginx:1.28":       `"nginx:1.28" is not expected`,
		"--images x --new": "-new",
		"--nginx nginx":    "--nginx goes with --local",
		"--local --keep":   "--keep is about containers",
		// Nobody's golden files are to be written over.
		"--templates mine --update": "needs a folder of yours",
	} {
		if _, err := parse(strings.Fields(line)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", line, err, want)
		}
	}
	o, err := parse(strings.Fields("--update -- --only ip-*"))
	if err != nil || !o.update || len(o.more) != 2 {
		t.Errorf("%+v, %v", o, err)
	}
	o, err = parse(nil)
	if err != nil || o.images != "nginx:1.28" {
		t.Errorf("%+v, %v", o, err)
	}
	// The golden files of the standard cases are of lbd's own template.
	for line, cases := range map[string]string{"": "nginx-test/cases", "--templates mine": "", "--templates mine --cases x --update": "x",
		"--templates mine --golden g --update": ""} {
		if o, err := parse(strings.Fields(line)); err != nil || o.cases != cases {
			t.Errorf("%q: cases %q, want %q; %v", line, o.cases, cases, err)
		}
	}
}

func TestFilesThatAreNotThere(t *testing.T) {
	o, err := parse([]string{"--file", "../compose.yml", "--bin", ".", "--cases", "no-such-cases"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.paths(); err == nil || !strings.Contains(err.Error(), "no-such-cases") {
		t.Error(err) // docker would make a folder of that name
	}
}

func TestVersions(t *testing.T) {
	for said, want := range map[string]string{"nginx version: nginx/1.28.0\n": "1.28.0", "nginx version: openresty/1.25.3.1\n": "1.25.3.1", "nginx version: nginx/1.22.1 (Ubuntu)\n": "1.22.1", "sh: nginx: not found\n": ""} {
		if got := version([]byte(said)); got != want {
			t.Errorf("%s: %q, want %q", said, got, want)
		}
	}
}

// TestLostRequests: only what Nginx itself loses with this engine is let pass, in the story in which it does.
func TestLostRequests(t *testing.T) {
	moves := story{"a node moves", nil, map[string]toll{"resolve": retryToll}}
	for _, c := range []struct {
		engine  string
		lost    int64
		reasons map[string]int64
		fault   bool
	}{
		{"lua", 0, nil, false},
		{"lua", 1, map[string]int64{"status 502": 1}, true},
		{"resolve", 14, map[string]int64{"status 502": 14}, false},
		{"resolve", 14, map[string]int64{"status 502": 13, "closed": 1}, true},
		{"resolve", rate + 1, map[string]int64{"status 502": rate + 1}, true},
	} {
		f := figures{Counts: load.Counts{Outcome: load.Outcome{Failed: c.lost}, ByReason: c.reasons}}
		went, err := moves.judge(f, c.engine)
		if (err != nil) != c.fault {
			t.Errorf("%s, %v: %s, %v", c.engine, c.reasons, went, err)
		}
	}
}
