package lbd

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
)

// TestDoctorProcess is no test: it is the doctor that TestDoctorAsAnotherUser runs.
func TestDoctorProcess(t *testing.T) {
	args := os.Getenv("DOCTOR_ARGS")
	if args == "" {
		return
	}
	Main(t.Context(), strings.Fields(args), nil, os.Stderr, io.Discard)
}

// elsewhere runs the doctor in a process of its own, as another user or behind a script that ends in `exec "$@"`.
func (p *patient) elsewhere(uid int, script string) (found []finding) {
	p.t.Helper()
	self, err := os.Executable()
	if err != nil {
		p.t.Fatal(err)
	}
	doctor := p.path("doctor")
	if _, err := os.Stat(doctor); err != nil { // other users can't see where tests are built
		text, err := os.ReadFile(self)
		if err != nil {
			p.t.Fatal(err)
		}
		p.write("doctor", string(text))
	}
	for _, name := range []string{p.dir, doctor, p.path("nginx.conf"), p.path("conf.d"), p.path("conf.d/upstream.conf")} {
		if err := os.Chmod(name, 0o755); err != nil {
			p.t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(p.t.Context(), "sh", "-ec", script, "sh", doctor, "-test.run=^TestDoctorProcess$")
	cmd.Dir = p.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	if uid == 0 {
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWNS // what is mounted is seen by nobody else
	}
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "DOCTOR_ARGS=doctor -o json --id lb1 --redis-url redis://127.0.0.1:1 --status-listen= --upstream-file " +
		p.path("conf.d/upstream.conf") + " --nginx-prefix " + p.dir + " --nginx-conf nginx.conf --nginx-pid " + p.path("nginx.pid") + " --state-dir " + p.path("state/lbd")}
	var out strings.Builder
	cmd.Stderr = &out
	if err := cmd.Run(); err != nil {
		p.t.Fatalf("%v\n%s", err, out.String())
	}
	if err := json.Unmarshal([]byte(out.String()), &found); err != nil {
		p.t.Fatalf("%v\n%s", err, out.String())
	}
	return found
}

func onlyRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can become somebody else, and mount")
	}
}

// An ordinary user may neither test nor signal nor write, and is told so, and what to do about his folders.
func TestDoctorAsAnotherUser(t *testing.T) {
	onlyRoot(t)
	const nobody = 65534
	p := newPatient(t)
	p.start()
	if err := os.Chmod(p.path("nginx.pid"), 0o644); err != nil { // whatever the umask
		t.Fatal(err)
	}
	ask := func() []finding { return p.elsewhere(nobody, `exec "$@"`) }
	found := ask()
	for _, code := range []string{"signal", "nginx-test", "output-folder", "state-dir"} {
		if f := withCode(found, code); f == nil || f.Level != levelProblem {
			t.Fatalf("%s: %+v", code, f)
		}
	}
	if f := withCode(found, "nginx-test"); !strings.Contains(f.Means, "as root") {
		t.Errorf("%+v", f)
	}
	for _, code := range []string{"output-folder", "state-dir"} {
		p.heal(withCode(found, code))
	}
	found = ask()
	for _, code := range []string{"output-folder", "state-dir"} {
		if f := withCode(found, code); f != nil {
			t.Errorf("not healed: %+v", f)
		}
	}
}

// What file systems do to the places that lbd writes to.
func TestDoctorOfFileSystems(t *testing.T) {
	onlyRoot(t)
	p := newPatient(t)
	const private = "mount --make-rprivate /; "
	for _, row := range []struct {
		script, code string
		level        level
		fix          string
	}{
		{"true; ", "output-mount", "", ""},
		{"mount --bind conf.d/upstream.conf conf.d/upstream.conf; ", "output-mount", levelProblem, "-v /srv/lbd:" + p.path("conf.d")},
		{"mount --bind conf.d conf.d; mount -o remount,ro,bind conf.d; ", "output-folder", levelProblem, "ReadWritePaths=" + p.path("conf.d")},
		{"cp -r conf.d c; mount -t tmpfs -o size=2m x conf.d; cp c/* conf.d; ", "output-space", levelProblem, ""},
		{"cp -r conf.d c2; mount -t tmpfs -o size=32m x conf.d; cp c2/* conf.d; ", "output-space", levelWarning, ""},
		{"mkdir -p state; mount -t tmpfs -o size=99m x state; ", "state-volatile", levelWarning, "state_dir: /var/lib/lbd"},
		{"mkdir -p state; mount -t tmpfs -o size=2m x state; ", "state-space", levelProblem, ""},
		{"mkdir -p state; mount -t tmpfs -o ro x state; ", "state-dir", levelProblem, ""},
	} {
		f := withCode(p.elsewhere(0, private+row.script+`exec "$@"`), row.code)
		if row.level == "" {
			if f != nil {
				t.Errorf("%s%+v", row.script, f)
			}
			continue
		}
		if f == nil || f.Level != row.level || !strings.Contains(f.Fix, row.fix) {
			t.Errorf("%sgot %+v, want %s at level %s", row.script, f, row.code, row.level)
		}
	}
}

func TestDoctorFindsTheRunningLBD(t *testing.T) {
	p := newPatient(t)
	if f := withCode(p.examine(), "lbd-running"); f == nil || f.Level != levelNote {
		t.Errorf("%+v", f)
	}
	unlock, err := lock(p.cfg.StateDir)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	found := p.examine()
	if f := withCode(found, "lbd-running"); f != nil {
		t.Errorf("%+v", f)
	}
	if i := slices.IndexFunc(found, func(f finding) bool {
		return f.Code == "lbd-running" && strings.Contains(f.What, strconv.Itoa(os.Getpid()))
	}); i < 0 {
		t.Errorf("process %d holds the lock: %+v", os.Getpid(), found)
	}
	if f := withCode(found, "lbd-status"); f == nil || f.Level != levelWarning { // it does not answer
		t.Errorf("%+v", f)
	}
	// The doctor has not taken the lock, nor has he let go of it.
	if _, err := lock(p.cfg.StateDir); err == nil {
		t.Error("the lock is free")
	}
}

// answering serves what it is told at lbd's address.
func (p *patient) answering(status, metrics string) {
	p.t.Helper()
	ln, err := new(net.ListenConfig).Listen(p.t.Context(), "tcp", p.cfg.Status.Listen)
	if err != nil {
		p.t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/status", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, status) })
	mux.HandleFunc("/metrics", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, metrics) })
	srv := &http.Server{Handler: mux}
	go func() { _ = srv.Serve(ln) }()
	p.t.Cleanup(func() { _ = srv.Close() })
}

func TestDoctorAsksTheRunningLBD(t *testing.T) {
	for _, row := range []struct {
		name, status, metrics, code string
		level                       level
		says                        string
	}{
		{"not ready", `{"id": "lb1", "problems": ["nginx is not running: \u001b[31m"]}`, "lbd_build_info{version=\"v9\"} 1\n", "lbd-status", levelProblem, "nginx is not running"},
		{"of another version", `{"id": "lb1", "problems": []}`, "lbd_build_info{version=\"v9\"} 1\n", "lbd-version", levelNote, "v9"},
		{"a stranger", `<html>`, "", "lbd-status", levelProblem, "not lbd"},
		{"another stranger", `{}`, "", "lbd-status", levelProblem, "not lbd"},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := newPatient(t)
			p.answering(row.status, row.metrics)
			if f := withCode(p.examine(), row.code); f == nil || f.Level != row.level || !strings.Contains(f.What, row.says) {
				t.Errorf("%+v", f)
			}
		})
	}
}

// systemctl answers like systemd.
func systemctl(t *testing.T, nginx, lbd string) {
	t.Helper()
	dir := serverstest.Dir(t)
	writeTestFile(t, dir+"/systemctl", "#!/bin/sh\ncase $2 in nginx.service) printf '"+nginx+"';; lbd.service) printf '"+lbd+"';; esac\n")
	if err := os.Chmod(dir+"/systemctl", 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

func TestDoctorOfUnits(t *testing.T) {
	const absent = `LoadState=not-found\nActiveState=inactive\nUnitFileState=\nAfter=\n`
	unit := func(active, enabled, after string) string {
		return `LoadState=loaded\nActiveState=` + active + `\nUnitFileState=` + enabled + `\nAfter=basic.target ` + after + `\n`
	}
	p := newPatient(t)
	p.start()
	for _, row := range []struct {
		name, nginx, lbd string
		want             map[string]level // "": nothing is said
	}{
		{"well", unit("active", "enabled", ""), unit("active", "enabled", "nginx.service"), map[string]level{"nginx-unit": levelOK, "lbd-unit": levelOK}},
		{"nginx by hand", unit("failed", "enabled", ""), unit("active", "enabled", "nginx.service"), map[string]level{"nginx-unit": levelWarning, "lbd-unit": levelOK}},
		{"not after a reboot", unit("active", "disabled", ""), unit("active", "disabled", ""), map[string]level{"nginx-unit": levelWarning, "lbd-unit": levelWarning}},
		{"no order", unit("active", "enabled", ""), unit("active", "enabled", ""), map[string]level{"nginx-unit": levelOK, "lbd-unit": levelNote}},
		{"shut in", unit("active", "enabled", ""), unit("active", "enabled", "nginx.service") + `ProtectSystem=strict\nReadWritePaths=/etc/nginx -/run\nUser=lbd\n`,
			map[string]level{"unit-paths": levelProblem, "unit-user": levelNote}},
		{"let out", unit("active", "enabled", ""), unit("active", "enabled", "nginx.service") + `ProtectSystem=strict\nReadWritePaths=/etc/nginx -` + p.dir + `\n`,
			map[string]level{"unit-paths": levelOK}},
		{"no units", absent, absent, map[string]level{"nginx-unit": "", "lbd-unit": levelNote}},
	} {
		t.Run(row.name, func(t *testing.T) {
			systemctl(t, row.nginx, row.lbd)
			got := map[string]level{}
			for _, f := range p.examine() {
				got[f.Code] = f.Level
			}
			for code, want := range row.want {
				if got[code] != want {
					t.Errorf("%s: %q, want %q", code, got[code], want)
				}
			}
		})
	}
}

func TestProtected(t *testing.T) {
	unit := map[string]string{"ProtectSystem": "strict", "ReadWritePaths": "-/etc/nginx +/srv/x", "StateDirectory": "lbd other"}
	for dir, want := range map[string]bool{"/etc/nginx": false, "/etc/nginx/conf.d": false, "/etc/nginx2": true, "/srv/x/y": false, "/srv": true,
		"/var/lib/lbd/nginx": false, "/var/lib": true, "/dev/shm": false} {
		if got := protected(unit, dir); got != want {
			t.Errorf("strict: %s: %v", dir, got)
		}
	}
	for system, closed := range map[string]string{"": "", "no": "", "yes": "/usr/x", "full": "/usr/x /etc/x"} {
		for _, dir := range []string{"/usr/x", "/etc/x", "/srv/x"} {
			if got, want := protected(map[string]string{"ProtectSystem": system}, dir), strings.Contains(closed, dir); got != want {
				t.Errorf("%q: %s: %v", system, dir, got)
			}
		}
	}
}
