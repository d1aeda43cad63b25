package agent

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/conf"
)

// look runs a check of a config file's text once, as an agent would; path is where programs are.
func look(t *testing.T, path, text string) error {
	t.Helper()
	var c struct {
		Checks []Check `yaml:"checks"`
	}
	if err := conf.Decode([]byte("checks: ["+text+"]"), &c); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	probes, err := prepareChecks(c.Checks, host{appDir: "/opt/app", path: []string{path, "/usr/bin", "/bin"}})
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	return probes[0](ctx)
}

// wantLook looks; want is a part of the error, "" for none.
func wantLook(t *testing.T, path, text, want string) {
	t.Helper()
	err := look(t, path, text)
	switch {
	case want == "" && err != nil:
		t.Errorf("%s: %v", text, err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Errorf("%s: error %v, want %q in it", text, err, want)
	}
}

func TestCheckConfigFile(t *testing.T) {
	c := Defaults()
	err := conf.Decode([]byte(`
checks:
  - {name: a, http: {urll: "http://x/"}}
  - name: b
    tcpp: {address: "x:1"}
  - name: c
    http: {url: "http://x/", status: [200, 2xx, 200-399, 600, ok]}
  - name: d
    disk: {path: /, min_free: much}
  - name: e
    interval: soon
`), &c)
	for _, want := range []string{
		"line 3: checks[0].http.urll: unknown key",
		"line 5: checks[1].tcpp: unknown key",
		"line 7: checks[2].http: want a status like 200, 200-299 or 2xx",
		"line 9: checks[3].disk: want a share or a size like 10%, 500MB or 5GiB",
		`line 11: checks[4].interval: "soon" is not a time`,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error\n%v\nwant in it\n%s", err, want)
		}
	}
}

func TestCheckSettingsAreAllSaidAtOnce(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(bad, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := Defaults()
	c.NodeID, c.Weight = "n1", -1
	c.Checks = []Check{
		{Name: "ok", Load: &LoadCheck{PerCore: 2}},
		{Name: "two", Load: &LoadCheck{PerCore: -1}, TCP: &TCPCheck{Address: "x"}},
		{Name: "a b"},
		{Name: "web", HTTP: &HTTPCheck{URL: "ftp://x/", Body: "(", Method: "G T", TLS: TLSCheck{CA: bad}}},
		{Name: "ok", Program: &ProgramCheck{Argv: []string{"no-such-program"}}, Timing: Timing{Interval: 1, Fall: -1, Rise: 9999}},
		{Name: "pid", Process: &ProcessCheck{}},
		{Name: "disk", Disk: &DiskCheck{Path: "here"}},
		{Name: "unit", Systemd: &SystemdCheck{Unit: "--all"}},
		{Name: "box", Docker: &DockerCheck{Socket: "x"}},
		{Name: "svc", Compose: &ComposeCheck{}},
	}
	_, err := c.check()
	if err == nil {
		t.Fatal("no error")
	}
	lines := strings.Split(err.Error(), "\n")
	for _, want := range []string{
		"weight -1",
		"checks[1] two: wants one kind of check (http, tcp, program, systemd, docker, compose, process, disk, load), and has 2: load, tcp",
		"checks[1] two: load: per_core: -1",
		`checks[1] two: tcp: address: "x" is not host:port`,
		"checks[2] a b: name: use 1 to 64",
		"checks[2] a b: wants one kind of check",
		"checks[3] web: http: url: want http://",
		"checks[3] web: http: body: error parsing regexp",
		`checks[3] web: http: method: "G T"`,
		"checks[3] web: http: tls: ca: " + bad + " holds no certificate",
		"checks[4] ok: checks[0] has this name, too",
		"checks[4] ok: program: argv: no program no-such-program in /usr/local/sbin:",
		"checks[4] ok: interval 1ns is shorter than 100ms",
		"checks[4] ok: fall -1 is not",
		"checks[4] ok: rise 9999 is not",
		"checks[5] pid: process: say name or pid_file",
		`checks[6] disk: disk: path: "here" is not absolute`,
		"checks[6] disk: disk: min_free: say how much",
		`checks[7] unit: systemd: unit: "--all"`,
		`checks[8] box: docker: container: say its name`,
		`checks[8] box: docker: socket: "x" is not absolute`,
		"checks[9] svc: compose: service: say its name",
	} {
		found := false
		for _, line := range lines {
			found = found || strings.HasPrefix(line, want)
		}
		if !found {
			t.Errorf("no line begins with %q:\n%v", want, err)
		}
	}
	if len(lines) != 22 {
		t.Errorf("%d lines, want 22:\n%v", len(lines), err)
	}
}

// The operator's page has an example with every kind, which has to work, and names every key.
func TestCheckDocs(t *testing.T) {
	text, err := os.ReadFile("../docs/agent.md")
	if err != nil {
		t.Fatal(err)
	}
	_, page, _ := strings.Cut(string(text), "## Health checks\n\n```yaml\n")
	example, page, found := strings.Cut(page, "```\n")
	if !found {
		t.Fatal("docs/agent.md has no example under Health checks")
	}
	c := Defaults()
	c.NodeID = "n1"
	if err := conf.Decode([]byte(example), &c); err != nil {
		t.Fatal(err)
	}
	if _, err := c.check(); err == nil || err.Error() != "checks[2] queue: program: argv: stat /usr/local/bin/check_queue: no such file or directory" {
		t.Errorf("the example: %v; only its program is not here", err)
	}
	shown := map[string]bool{}
	for i := range c.Checks {
		for name := range c.Checks[i].kinds() {
			shown[name] = true
		}
	}
	for f := range reflect.TypeFor[Check]().Fields() {
		if f.Type.Kind() != reflect.Pointer {
			continue
		}
		kind := f.Tag.Get("yaml")
		if !shown[kind] {
			t.Errorf("the example has no %s", kind)
		}
		_, row, _ := strings.Cut(page, "\n| `"+kind+"` |")
		row, _, _ = strings.Cut(row, "\n")
		for key := range f.Type.Elem().Fields() {
			if name := key.Tag.Get("yaml"); !strings.Contains(row, "`"+name) {
				t.Errorf("the row of %s does not name %s: %s", kind, name, row)
			}
		}
	}
}

func TestTimingDefaults(t *testing.T) {
	for _, c := range []struct{ is, want Timing }{
		{Timing{}, Timing{Duration(10 * time.Second), Duration(5 * time.Second), 2, 3}},
		{Timing{Interval: Duration(time.Second)}, Timing{Duration(time.Second), Duration(time.Second), 2, 3}},
		{Timing{Interval: Duration(time.Minute), Timeout: Duration(30 * time.Second), Fall: 5, Rise: 1},
			Timing{Duration(time.Minute), Duration(30 * time.Second), 5, 1}},
	} {
		if got := c.is.or(Duration(10*time.Second), fall, rise); got != c.want {
			t.Errorf("%+v: got %+v, want %+v", c.is, got, c.want)
		}
	}
	if err := (Timing{Timeout: -1}).check(); err == nil {
		t.Error("a negative timeout is taken")
	}
}

func TestPlaced(t *testing.T) {
	err := errors.Join(errors.New("a"), errors.Join(errors.New("b"), errors.New("c")))
	if got := errors.Join(placed("x", err)...).Error(); got != "x: a\nx: b\nx: c" {
		t.Errorf("got %q", got)
	}
	if placed("x", nil) != nil {
		t.Error("no error is no error")
	}
}
