package lbd

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	realservers "github.com/bazbeans/bazbeans/dev/servers"
	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
)

// beside has an lbd of an id at work that says this of its engine.
func (p *patient) beside(id string, e EngineStatus) {
	p.t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/metrics" {
			fmt.Fprintln(w, `lbd_build_info{version="v1"} 1`)
			return
		}
		if err := json.NewEncoder(w).Encode(Status{ID: id, Problems: []string{}, Engine: e}); err != nil {
			p.t.Error(err)
		}
	}))
	p.t.Cleanup(server.Close)
	p.cfg.Status.Listen = strings.TrimPrefix(server.URL, "http://")
}

// check is the line of `lbd check` that says how changes go in.
func (p *patient) check() string {
	p.t.Helper()
	l, err := New(p.cfg, silent)
	if err != nil {
		p.t.Fatal(err)
	}
	defer l.Close()
	if err := l.pool.Close(); err != nil {
		p.t.Fatal(err)
	}
	l.pool = &fakePool{nodes: p.nodes}
	var out bytes.Buffer
	_ = check(p.t.Context(), l, &out) // that it fails is seen in the line
	for line := range strings.Lines(out.String()) {
		if strings.Contains(line, " apply ") {
			return line
		}
	}
	p.t.Fatalf("no line says how changes go in:\n%s", out.String())
	return ""
}

// check and doctor say what the lbd at work uses, what it would use, and what is in the way.
func TestTheEngineInUse(t *testing.T) {
	taken := EngineStatus{Name: "reload", Why: "not lua: listen on 127.0.0.1:9153: address already in use (choose another nginx.names)"}
	lua := EngineStatus{Name: "lua"}
	operators := func(p *patient) { p.write("conf.d/bad.conf", "nonsense;\n") }
	template := func(p *patient) { p.template("upstream {{.Name") }
	noModule := func(p *patient) {
		p.edit("nginx.conf", "load_module", "#load_module")
		p.edit("nginx.conf", "\nload_module", "\n#load_module")
	}
	for _, row := range []struct {
		name    string
		harm    func(p *patient)
		beside  *EngineStatus
		another bool // it is another load balancer's
		check   string
		level   level
		what    string // "changes go in …" of the doctor
		fix     string
	}{
		{name: "nobody", check: "ok    apply      lua\n", level: levelOK, what: "live: lua"},
		{name: "as it would be", beside: &lua, check: "ok    apply      lua\n", level: levelOK, what: "live: lua"},
		{name: "another's", beside: &taken, another: true, check: "ok    apply      lua\n", level: levelOK, what: "live: lua"},
		{name: "not the one that could be", beside: &taken, check: "FAIL  apply      nginx.apply is live, and every change is a reload: " + taken.Why + "\n",
			level: levelWarning, what: "by reloads: " + taken.Why + ", says the lbd that runs; with this config it would be lua", fix: "pkill -HUP -x lbd"},
		{name: "another config", beside: &EngineStatus{Name: "reload", Why: "nginx.apply is reload"}, check: "ok    apply      reload (nginx.apply is reload), says the lbd that runs; with this config it would be lua\n",
			level: levelNote, what: "by reloads: nginx.apply is reload, says the lbd that runs; with this config it would be lua"},
		{name: "another config, and no module", harm: noModule, beside: &EngineStatus{Name: "reload", Why: "nginx.apply is reload"}, check: "FAIL  apply      nginx.apply is live, and every change is a reload: not lua: no Lua",
			level: levelWarning, what: "by reloads: not lua: no Lua module is loaded", fix: "apt-get install"},
		{name: "a broken file", harm: operators, beside: &lua, check: "ok    apply      lua, says the lbd that runs; what it would do once restarted is not known: it can't be tried, because something is broken: ",
			level: levelWarning, what: "live: lua, says the lbd that runs; ", fix: "in DIR/conf.d/bad.conf at line 1: # mend it"},
		{name: "a broken template", harm: template, beside: &lua, check: "ok    apply      lua, says the lbd that runs; what it would do once restarted is not known: it can't be tried, because something is broken: ",
			level: levelWarning, what: "live: lua, says the lbd that runs; ", fix: "in DIR/templates/own.tmpl at line 1: # mend the template"},
		{name: "a broken file and nobody", harm: operators, check: "FAIL  apply      nginx.apply is live, and whether it can be had is not known: it can't be tried, because something is broken: ",
			level: levelWarning, what: "how changes would go in is not known (it can't be tried", fix: "in DIR/conf.d/bad.conf at line 1: # mend it"},
		{name: "no module", harm: noModule, check: "FAIL  apply      nginx.apply is live, and every change is a reload: not lua: no Lua module is loaded: install libnginx-mod-http-lua",
			level: levelWarning, what: "by reloads: not lua: no Lua module is loaded: install libnginx-mod-http-lua", fix: "apt-get install libnginx-mod-http-lua"},
		{name: "no module any more", harm: noModule, beside: &lua, check: "FAIL  apply      nginx.apply is live, and once lbd is restarted every change is a reload: not lua: no Lua module is loaded",
			level: levelWarning, what: "live: lua, says the lbd that runs; with this config it would be reload (not lua: no Lua module is loaded", fix: "apt-get install libnginx-mod-http-lua"},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := newPatient(t)
			p.lua()
			if row.harm != nil {
				row.harm(p)
			}
			if row.beside != nil {
				id := p.cfg.ID
				if row.another {
					id = "lb2"
				}
				p.beside(id, *row.beside)
			}
			if line := p.check(); !strings.HasPrefix(line, row.check) {
				t.Errorf("check: %swant   %s", line, row.check)
			}
			found := p.examine()
			for _, f := range found {
				if f.Code != "live-engine" {
					continue
				}
				if f.Level != row.level || !strings.Contains(f.What, row.what) || !strings.Contains(f.Where+": "+f.Fix, strings.ReplaceAll(row.fix, "DIR", p.dir)) || row.fix == "" && f.Fix != "" {
					t.Errorf("doctor: %+v", f)
				}
			}
			if !strings.Contains(strings.Join(codesOf(found), " "), "live-engine") {
				t.Error("the doctor says nothing")
			}
		})
	}
}

// A command finds nginx.names taken by another program, and not by the lbd at work.
func TestNamesAreVacant(t *testing.T) {
	ln, err := net.Listen("tcp", realservers.Loopback(serverstest.Ports(t, 1)[0])) // nobody takes it once it is closed
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	kind := func() liveKind { return &namesKind{addr: netip.MustParseAddrPort(ln.Addr().String()), log: silent} }
	says := func(name string) *beside { return &beside{status: Status{ID: "lb1", Engine: EngineStatus{Name: name}}} }
	mute := &beside{holder: 1, err: net.ErrClosed}
	for _, row := range []struct {
		what  string
		is    *beside
		taken bool
	}{
		{"nobody is at work", &beside{err: net.ErrClosed}, true},
		{"the lbd at work goes by reloads", says("reload"), true},
		{"the lbd at work answers there", says("resolve"), false},
		{"the lbd at work can't be asked", mute, false},
	} {
		l := &LB{cfg: Config{ID: "lb1"}, beside: row.is}
		err := l.vacant(kind())
		if (err != nil) != row.taken || row.taken && !strings.Contains(err.Error(), "address already in use (choose another nginx.names)") {
			t.Errorf("%s: %v", row.what, err)
		}
	}
	ln.Close()
	l := &LB{beside: &beside{err: net.ErrClosed}}
	for range 2 { // it leaves the port as it was
		if err := l.vacant(kind()); err != nil {
			t.Error(err)
		}
	}
}
