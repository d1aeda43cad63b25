package harness

import (
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const twoNodes = `
nodes:
  - {id: web1, address: 10.0.1.10, port: 8000}
  - {id: web2, address: 10.0.1.11, port: 8000}
`

// Whatever a case wants, it is seen when it is not so: each of these is wrong in one thing.
func TestEachExpectationCanFail(t *testing.T) {
	wrong := map[string]struct{ text, fault string }{
		"missed":      {"want: {traffic: [web1, web2, web3]}" + twoNodes, "no request of 40 went to web3"},
		"extra":       {"want: {traffic: [web1]}" + twoNodes, "20 of 40 requests went to web2, want none"},
		"only":        {"want: {traffic: {only: [web3]}}" + twoNodes, "20 of 40 requests went to web1, want none"},
		"share":       {"want: {traffic: {web1: 60%, web2: 40%}}" + twoNodes, "web1 had 50.0% of the requests (20 of 40), want 60% ± 5"},
		"tolerance":   {"want: {traffic: {web1: 52%, web2: 48%}, tolerance: 1}" + twoNodes, "want 52% ± 1"},
		"weights":     {"want: {traffic: {web1: 50%, web2: 50%}}" + strings.Replace(twoNodes, "web1,", "web1, weight: 3,", 1), "web1 had 75.0%"},
		"none":        {"want: {traffic: none}" + twoNodes, "40 of 40 answers had the status 200, want 502"},
		"status":      {"want: {traffic: all, status: 503}" + twoNodes, "status 200, want 503"},
		"dead":        {"want: {traffic: all}\ndead: [web1, web2]" + twoNodes, "answers had the status 502, want 200"},
		"contains":    {"want: {contains: ['weight=3']}" + twoNodes, `the output lacks "weight=3"`},
		"lacks":       {"want: {lacks: ['10.0.1.11']}" + twoNodes, `of the output has "10.0.1.11"`},
		"reused":      {"want: {connections: reused}\nsend: {requests: 3}" + twoNodes, "Nginx opened 2 connections for 3 requests: they were not reused"},
		"new":         {"want: {connections: new}" + twoNodes, "connections for 40 requests, want one for each"},
		"client":      {"want: {sticky: client}\nsend: {clients: 5, requests: 20}\nupstream: {balance: random}" + twoNodes, "want one node for each client"},
		"uri":         {"want: {sticky: uri}\nsend: {uris: 5, requests: 40}\nupstream: {balance: ip_hash}" + twoNodes, "no request of 40"},
		"uri-moves":   {"want: {sticky: uri}\nsend: {uris: 3, requests: 12}" + twoNodes, "want one node for each uri"},
		"together":    {"want: {together: {web1: 4}}\nsend: {together: 4}" + twoNodes, "of the requests at once web1 2, web2 2, want web1 4"},
		"refused":     {"want: {refused: is not allowed}" + twoNodes, `lbd refuses nothing, want a refusal with "is not allowed"`},
		"otherwise":   {"want: {refused: because}\nnodes: [{id: 'a b', address: 10.0.1.10}]", `want a refusal with "because"`},
		"unforeseen":  {"nodes: [{id: 'a b', address: 10.0.1.10}]", `unforeseen.yaml:2: nodes[0]: id "a b" is not allowed`},
		"quarantined": {"nodes: [{id: a, address: 10.0.1.10}, {id: b}]", "b is refused: the fixture gives it no address"},
		"settings":    {"upstream: {balance: sideways}", `balance "sideways" is not known`},
		"unknown-key": {"upstream: {balanse: ip_hash}", "upstream.balanse: unknown key"},
	}
	texts := map[string]string{}
	for name, c := range wrong {
		texts[name+".yaml"] = "shows: what is wrong\n" + c.text
	}
	code, r := rows(t, "--cases", files(t, texts))
	if code != 1 || r.OK || len(r.Results) != len(wrong) {
		t.Errorf("exit code %d, %d rows", code, len(r.Results))
	}
	for _, row := range r.Results {
		if want := wrong[row.Case].fault; row.OK || !strings.Contains(strings.Join(row.Faults, "\n"), want) {
			t.Errorf("%s: %q, want … %s …", row.Case, row.Faults, want)
		}
	}
}

// A cases folder is read strictly, and all that is wrong with it is told at once.
func TestCasesAreReadStrictly(t *testing.T) {
	wrong := map[string]string{
		"shows.yaml":    "nodes: []",
		"key.yaml":      "shows: a\nnodez: []",
		"count.yaml":    "shows: a\ncount: 3" + twoNodes,
		"many.yaml":     "shows: a\ncount: 100000",
		"shares.yaml":   "shows: a\nwant: {traffic: {web1: 20%}}",
		"share.yaml":    "shows: a\nwant:\n  traffic: {web1: twenty}",
		"traffic.yaml":  "shows: a\nwant: {traffic: some}",
		"sticky.yaml":   "shows: a\nwant: {sticky: client}",
		"together.yaml": "shows: a\nsend: {together: 3}\nwant: {together: {a: 2}}",
		"od d.yaml":     "shows: a",
		"yaml.yaml":     "shows: [",
		"globs.yaml":    "shows: a\ntemplates: ['[']",
	}
	dir := files(t, wrong)
	code, out, said := lbdTest(t, "--cases", dir)
	if code != 2 || out != "" {
		t.Errorf("exit code %d: %s", code, out)
	}
	for name, want := range map[string]string{
		"shows.yaml": ": shows: say in", "key.yaml": ":2: nodez: unknown key", "count.yaml": "give one of the two", "many.yaml": "count: 100000",
		"shares.yaml": ":2: want: the shares are 20% together", "share.yaml": `:3: want.traffic: web1: "twenty" is not a share`, "traffic.yaml": ": traffic is all, none",
		"sticky.yaml": "client needs send.clients", "together.yaml": "2 answers, but send.together is 3", "od d.yaml": "the file's name",
		"yaml.yaml": "yaml", "globs.yaml": `"[" is no pattern`,
	} {
		found := false
		for line := range strings.Lines(said) {
			found = found || strings.Contains(line, filepath.Join(dir, name)) && strings.Contains(line, want)
		}
		if !found {
			t.Errorf("%s: want … %s … in\n%s", name, want, said)
		}
	}
	if code, _, said := lbdTest(t, "--cases", t.TempDir()); code != 2 || !strings.Contains(said, "--write-cases") {
		t.Errorf("an empty folder: exit code %d: %s", code, said)
	}
}

// Golden files: written, the same, different, missing, and of no case any more.
func TestGoldenFiles(t *testing.T) {
	dir := files(t, map[string]string{"two.yaml": "shows: two nodes" + twoNodes, "none.yaml": "shows: no node"})
	file := filepath.Join(dir, "golden", "upstream.conf.tmpl", "two.conf")
	play := func(wantCode int, want string, more ...string) string {
		t.Helper()
		code, out, said := lbdTest(t, append([]string{"--cases", dir, "--nginx", "none"}, more...)...)
		if code != wantCode || !strings.Contains(out+said, want) {
			t.Errorf("exit code %d, want %d and … %s …\n%s%s", code, wantCode, want, out, said)
		}
		return out
	}
	play(0, "has no golden files in "+filepath.Join(dir, "golden"))
	play(0, "2 golden files were written below", "--update")
	play(0, "  same  ")
	text, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(text), "server 10.0.1.10:8000; # web1") {
		t.Fatalf("%v: %s", err, text)
	}
	other := strings.Replace(string(text), "10.0.1.10:8000", "10.0.1.10:8001", 1)
	if err := os.WriteFile(file, []byte(other), 0o644); err != nil {
		t.Fatal(err)
	}
	out := play(1, "  differs  ")
	for _, want := range []string{"--- " + file, "+++ rendered", "\n  -    server 10.0.1.10:8001; # web1", "\n  +    server 10.0.1.10:8000; # web1", "FAILED"} {
		if !strings.Contains(out, want) {
			t.Errorf("want … %s … in\n%s", want, out)
		}
	}
	if err := os.Rename(file, filepath.Join(filepath.Dir(file), "former.conf")); err != nil {
		t.Fatal(err)
	}
	if out := play(1, "there is no golden file "+file); !strings.Contains(out, "former.conf is a golden file of no case") {
		t.Error(out)
	}
	play(0, "1 golden files were written", "--update")
	if code, _, said := lbdTest(t, "--update"); code != 2 || !strings.Contains(said, "--golden DIR") {
		t.Errorf("exit code %d: %s", code, said)
	}
}

// What several runs wrote becomes one table, one JUnit file and one exit code.
func TestFromOtherRuns(t *testing.T) {
	dir := files(t, map[string]string{"two.yaml": "shows: two nodes" + twoNodes, "bad.yaml": "shows: x\nwant: {traffic: [web1]}" + twoNodes})
	for label, skip := range map[string]string{"a": "bad", "b": "none"} {
		_, out, said := lbdTest(t, "--cases", dir, "--skip", skip, "--label", "image "+label, "-o", "json")
		if err := os.WriteFile(filepath.Join(dir, label+".json"), []byte(out), 0o644); err != nil || said != "" {
			t.Fatal(err, said)
		}
	}
	junit := filepath.Join(dir, "junit.xml")
	code, out, said := lbdTest(t, "--from", filepath.Join(dir, "a.json"), "--from", filepath.Join(dir, "b.json"), "--junit", junit)
	if code != 1 || !strings.Contains(out, "1 FAILED: 3 rows (1 templates, 2 cases, 2 Nginx), 120 requests") {
		t.Errorf("exit code %d: %s%s", code, said, out)
	}
	text, err := os.ReadFile(junit)
	var got junitSuites
	if err == nil {
		err = xml.Unmarshal(text, &got)
	}
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, s := range got.Suites {
		fmt.Fprintf(&b, "%s: %d tests, %d failures\n", s.Name[strings.Index(s.Name, "("):], s.Tests, s.Failures)
		for _, c := range s.Cases {
			fmt.Fprintf(&b, "  %s %s %v\n", c.Class, c.Name, c.Failure)
		}
	}
	const want = `(image a), reload: 1 tests, 0 failures
  upstream.conf.tmpl two <nil>
(image b), reload: 2 tests, 1 failures
  upstream.conf.tmpl bad &{20 of 40 requests went to web2, want none failed 20 of 40 requests went to web2, want none}
  upstream.conf.tmpl two <nil>
`
	if b.String() != want || got.Tests != 3 || got.Failures != 1 {
		t.Errorf("JUnit says\n%swant\n%s\n%s", b.String(), want, text)
	}
	if code, out, _ := lbdTest(t, "--from", filepath.Join(dir, "a.json")); code != 0 {
		t.Errorf("the good one alone: exit code %d\n%s", code, out)
	}
	if code, _, said := lbdTest(t, "--from", filepath.Join(dir, "two.yaml")); code != 2 || !strings.Contains(said, "two.yaml") {
		t.Errorf("exit code %d: %s", code, said)
	}
}
