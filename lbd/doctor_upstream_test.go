package lbd

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/lbd/nginx"
)

// The doctor's figures for a zone, against the Nginx of this machine: what they allow passes `nginx -t`, with the
// costliest servers there are, and they are not far off.
func TestWhatAServerCostsInAZone(t *testing.T) {
	for size, text := range map[int]string{64 << 10: "64k", 256 << 10: "256k", 1 << 20: "1m"} {
		fits := func(servers int) bool {
			p := newPatient(t)
			var b strings.Builder
			fmt.Fprintf(&b, "upstream app_backend {\n    zone app_backend %s;\n    least_conn;\n", text)
			for i := range servers {
				fmt.Fprintf(&b, "    server [fd00:1111:2222:3333:4444:5555:6666:%x]:65535 weight=1000 max_fails=100 fail_timeout=1000s max_conns=1000;\n", i)
			}
			p.write("conf.d/upstream.conf", b.String()+"    keepalive 32;\n}\n")
			out, err := exec.CommandContext(t.Context(), "nginx", "-t", "-p", p.dir, "-c", p.path("nginx.conf"), "-e", "stderr").CombinedOutput()
			if err != nil && !strings.Contains(string(out), "app_backend") {
				t.Fatalf("%v\n%s", err, out)
			}
			return err == nil
		}
		most := (size - zoneBase) / zoneServer
		if !fits(most) {
			t.Errorf("a zone of %s does not hold %d servers: measure again, and mend zoneBase, zoneServer and docs/doctor.md", text, most)
		}
		if fits(most*5/4 + 5) {
			t.Errorf("a zone of %s holds %d servers: measure again", text, most*5/4+5)
		}
	}
}

func TestReadLikeNginx(t *testing.T) {
	for text, want := range map[string]int{"64k": 64 << 10, "1M": 1 << 20, "4096": 4096, "": 0, "x": 0} {
		if got := bytesOf(text); got != want {
			t.Errorf("size %q: %d, want %d", text, got, want)
		}
	}
	for text, want := range map[string]time.Duration{"3": 3 * time.Second, "500ms": 500 * time.Millisecond, "2m": 2 * time.Minute, "60s": time.Minute, "": 0} {
		if got := durationOf(text); got != want {
			t.Errorf("time %q: %s, want %s", text, got, want)
		}
	}
	for text, want := range map[string]string{"http://app_backend": "app_backend", "https://app_backend/x/y": "app_backend", "app_backend": "app_backend",
		"grpc://app_backend:443": "app_backend", "http://$backend": "$backend", "http://10.0.0.1:80": "10.0.0.1", "": ""} {
		if got := target.FindStringSubmatch(text)[1]; got != want {
			t.Errorf("%q goes to %q, want %q", text, got, want)
		}
	}
}

// judged runs one check on a configuration as a given version of Nginx would be seen with it.
func (p *patient) judged(version int, check func(*doctor)) []finding {
	p.t.Helper()
	l, err := New(p.cfg, silent)
	if err != nil {
		p.t.Fatal(err)
	}
	defer l.Close()
	d := &doctor{l: l, facts: &facts{at: time.Now()}, plan: &Plan{}}
	if d.site, err = l.engine.(reloads).Inspect(p.t.Context(), nil); err != nil {
		p.t.Fatal(err)
	}
	d.site.Version = version
	check(d)
	return d.findings
}

// What depends on the version of Nginx.
func TestDoctorByVersion(t *testing.T) {
	reload := func(d *doctor) { d.checkReloads(t.Context()) }
	proxying := func(d *doctor) { d.checkProxying(t.Context()) }
	binary := func(d *doctor) { d.checkBinary(t.Context()) }
	p := newPatient(t)
	p.edit("nginx.conf", http11+connection, "")
	for _, row := range []struct {
		version int
		check   func(*doctor)
		code    string
		level   level // "": the finding does not come
	}{
		{1012002, binary, "nginx-version", levelWarning},
		{1022001, binary, "nginx-version", levelNote},
		{1029007, binary, "nginx-version", ""},
		{1022001, reload, "keepalive-min-timeout", ""},
		{1027004, reload, "keepalive-min-timeout", levelWarning},
		{1029006, proxying, "upstream-keepalive", levelWarning},
		{1029007, proxying, "upstream-keepalive", ""},
	} {
		f := withCode(p.judged(row.version, row.check), row.code)
		if got := levelOf(f); got != row.level {
			t.Errorf("%s: %s at level %q, want %q", dotted(row.version), row.code, got, row.level)
		}
	}
	p.heal(withCode(p.judged(1027004, reload), "keepalive-min-timeout"))
	if f := withCode(p.judged(1027004, reload), "keepalive-min-timeout"); f != nil {
		t.Errorf("not healed: %+v", f)
	}
	socket := func(d *doctor) {
		d.l.cfg.Nginx.Proof = "unix:/run/lbd-{generation}.sock"
		d.checkReloads(t.Context())
	}
	if f := withCode(p.judged(1022001, socket), "proof-socket"); levelOf(f) != levelNote {
		t.Errorf("%+v", f)
	}
	p.edit("nginx.conf", "proxy_pass http://app_backend;", "proxy_pass http://app_backend;\n            proxy_http_version 1.0;\n            proxy_set_header connection close;")
	for n := range 3 {
		f := withCode(p.judged(1029007, proxying), "upstream-keepalive")
		if f == nil {
			if n != 2 {
				t.Errorf("%d fixes for two faults", n)
			}
			break
		}
		p.heal(f)
	}
}

func levelOf(f *finding) level {
	if f == nil {
		return ""
	}
	return f.Level
}

// What is said with nothing to be pasted, or with something that only people can do.
func TestDoctorNotes(t *testing.T) {
	for _, row := range []struct {
		name, code string
		level      level
		harm       func(p *patient)
	}{
		{"daemon off", "daemon-off", levelNote, func(p *patient) { p.edit("nginx.conf", "events {", "daemon off;\nevents {") }},
		{"reuseport", "reuseport", levelNote, func(p *patient) {
			conf := string(p.read("nginx.conf"))
			p.write("nginx.conf", strings.Replace(conf, ";\n        location", " reuseport;\n        location", 1))
		}},
		{"the include stands in a server block", "output-included", levelProblem, func(p *patient) {
			p.edit("nginx.conf", "    include DIR/conf.d/*.conf;\n", "")
			p.edit("nginx.conf", "        location / {", "        include DIR/conf.d/*.conf;\n        location / {")
		}},
		{"included twice", "output-included", levelProblem, func(p *patient) {
			p.edit("nginx.conf", "    include DIR/conf.d/*.conf;\n", "    include DIR/conf.d/*.conf;\n    include conf.d/upstream.conf;\n")
		}},
		{"a name from a variable", "upstream-used", levelNote, func(p *patient) { p.edit("nginx.conf", "http://app_backend", "http://$host") }},
		{"nobody uses it", "upstream-used", levelWarning, func(p *patient) { p.edit("nginx.conf", "http://app_backend", "http://127.0.0.1:1") }},
		{"the error log is stderr", "error-log", levelWarning, func(p *patient) { p.edit("nginx.conf", "error_log DIR/error.log notice", "error_log stderr") }},
		{"the error log goes to syslog", "error-log", levelWarning, func(p *patient) {
			p.edit("nginx.conf", "error_log DIR/error.log notice", "error_log syslog:server=127.0.0.1:1")
		}},
		{"a file of the operator's is broken", "nginx-test", levelProblem, func(p *patient) { p.write("conf.d/bad.conf", "nonsense;\n") }},
		{"a file can't be parsed", "config-unread", levelWarning, func(p *patient) { p.write("conf.d/bad.conf", "map {\n") }},
		{"the upstream is not there yet", "nginx-test", levelNote, func(p *patient) { p.write("conf.d/upstream.conf", "") }},
		{"the output is a folder", "output-place", levelProblem, func(p *patient) { p.cfg.Upstreams[0].Output = p.path("conf.d") }},
		{"a template that does not parse", "templates", levelProblem, func(p *patient) { p.template("upstream {{.Name") }},
		{"a template that fails", "templates", levelProblem, func(p *patient) { p.template("upstream {{.Name}} { {{.NoSuchField}} }") }},
		{"no status", "lbd-status", levelNote, func(p *patient) { p.cfg.Status.Listen = "" }},
		{"live without a module", "live-engine", levelWarning, func(p *patient) { p.cfg.Nginx.Apply, p.cfg.Nginx.Live = "live", "lua" }},
		{"auto without a module", "live-engine", levelNote, func(p *patient) { p.cfg.Nginx.Apply = "auto" }},
		{"a template that is not live", "live-template", levelNote, func(p *patient) {
			p.lua()
			other := p.cfg.Upstreams[0]
			other.Name, other.Output, other.Template = "other", p.path("conf.d/other.conf"), "other.conf.tmpl"
			p.cfg.Upstreams = append(p.cfg.Upstreams, other)
			p.cfg.Templates = p.path("templates")
			p.write("templates/other.conf.tmpl", "upstream {{.Name}} { {{range .Servers}}server {{.Addr}}{{.Params}};{{end}} }\n")
		}},
		{"no binary", "nginx-binary", levelProblem, func(p *patient) { p.cfg.Nginx.Binary = "no-such-nginx" }},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := newPatient(t)
			row.harm(p)
			found := p.examine()
			if f := withCode(found, row.code); levelOf(f) != row.level {
				t.Errorf("got %+v, want %s at level %s", f, row.code, row.level)
			}
		})
	}
}

// No module mends an Nginx that is too old for resolve, or whatever else keeps it from that.
func TestDoctorOfResolve(t *testing.T) {
	p := newPatient(t)
	p.cfg.Nginx.Apply, p.cfg.Nginx.Live = "live", "resolve"
	p.template("upstream {{.Name}} { {{range .Servers}}server {{.Addr}}{{.Params}};{{end}} }")
	f := withCode(p.examine(), "live-engine")
	if levelOf(f) != levelWarning || strings.Contains(f.Fix, "lua") {
		t.Fatalf("%+v", f)
	}
	p.heal(f)
	if f := withCode(p.examine(), "live-engine"); levelOf(f) != "" {
		t.Errorf("once mended: %+v", f)
	}
}

// lua puts lua-nginx-module into the patient's Nginx, and asks for live changes with it.
func (p *patient) lua() {
	p.edit("nginx.conf", "worker_processes 1;", "load_module /usr/lib/nginx/modules/ndk_http_module.so;\nload_module /usr/lib/nginx/modules/ngx_http_lua_module.so;\nworker_processes 1;")
	p.cfg.Nginx.Apply, p.cfg.Nginx.Live = "live", "lua"
}

// A log_by_lua of the operator's own, wherever it stands, needs one line, which the doctor has.
func TestDoctorOfTheOperatorsLog(t *testing.T) {
	for name, put := range map[string]func(p *patient, code string){
		"in a server": func(p *patient, code string) {
			p.edit("nginx.conf", "        location / {", "        log_by_lua_block { "+code+" }\n        location / {")
		},
		"at the http level": func(p *patient, code string) {
			p.edit("nginx.conf", "    access_log off;", "    access_log off;\n    log_by_lua_block { "+code+" }")
		},
		"in a file": func(p *patient, code string) {
			p.edit("nginx.conf", "    access_log off;", "    access_log off;\n    log_by_lua_file log.lua;")
			p.write("log.lua", code)
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPatient(t)
			p.lua()
			put(p, "local mine = 1")
			f := withCode(p.examine(), "live-engine")
			if levelOf(f) != levelWarning || !strings.Contains(f.What, "this log_by_lua") || strings.Contains(f.Fix, "apt-get") || !strings.Contains(page(t, "live-lua.md"), "\n"+f.Fix+"\n") {
				t.Fatalf("%+v", f)
			}
			p = newPatient(t)
			p.lua()
			put(p, f.Fix)
			if f := withCode(p.examine(), "live-engine"); levelOf(f) != "" {
				t.Errorf("once mended: %+v", f)
			}
		})
	}
}

// What only looks as if the operator's Lua let us count.
func TestDoctorOfLuaThatDoesNotCount(t *testing.T) {
	const line = `local live = package.loaded["bazbeans.live"]; if live then live.done() end`
	for name, tc := range map[string]struct{ text, says, fix string }{
		"the line in a comment of the block": {"log_by_lua_block { -- " + line + "\n}", "this log_by_lua", line},
		"the line in a comment of the file":  {"# see bazbeans.live\nlog_by_lua_block { local mine = 1 }", "this log_by_lua", line},
		"the line in another block":          {"location /a { log_by_lua_block { " + line + " } }\nlocation /b { log_by_lua_block { local mine = 1 } }", "this log_by_lua", line},
		"no code cache":                      {"location /a { lua_code_cache off; }", "lua_code_cache off", "lua_code_cache on;"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPatient(t)
			p.lua()
			p.edit("nginx.conf", "        location / {", tc.text+"\n        location / {")
			if f := withCode(p.examine(), "live-engine"); levelOf(f) != levelWarning || !strings.Contains(f.What, tc.says) || f.Fix != tc.fix {
				t.Errorf("%+v", f)
			}
		})
	}
}

// Who is seen among the processes.
func TestDoctorOfMasters(t *testing.T) {
	p := newPatient(t)
	p.write("nginx.pid", "")
	if f := withCode(p.examine(), "pid-file"); levelOf(f) != levelNote {
		t.Errorf("%+v", f)
	}
	p.start()
	if f := withCode(p.examine(), "nginx-master"); f != nil {
		t.Errorf("%+v", f)
	}
	// Somebody emptied the pid file: the fix puts it right.
	p.write("nginx.pid", "")
	f := withCode(p.examine(), "nginx-master")
	if levelOf(f) != levelProblem {
		t.Fatalf("%+v", f)
	}
	p.heal(f)
	if f := withCode(p.examine(), "nginx-master"); f != nil {
		t.Errorf("not healed: %+v", f)
	}
	if f := withCode(p.examine(), "master-global"); levelOf(f) != levelNote || !strings.Contains(f.What, "daemon off;") {
		t.Errorf("%+v", f)
	}

	// Another configuration serves than the one that lbd was told of.
	other := newPatient(t)
	if f := withCode(other.examine(), "master-conf"); levelOf(f) != levelWarning || f.Where != inConfig {
		t.Errorf("%+v", f)
	}

	d := &doctor{l: &LB{cfg: p.cfg}, site: &nginx.Inspection{Conf: "/nginx.conf", Master: &nginx.Master{PID: 1, Workers: 1, Draining: 3, Replaced: true, Label: "nginx (enforce)"}}}
	d.l.upstreams = []*upstream{{UpstreamConfig: defaultUpstream()}}
	d.checkMaster(t.Context())
	d.checkWorkers(t.Context())
	d.checkConfinement(t.Context())
	for code, want := range map[string]level{"binary-replaced": levelWarning, "old-workers": levelWarning, "confined": levelNote} {
		if f := withCode(d.findings, code); levelOf(f) != want {
			t.Errorf("%s: %+v", code, f)
		}
	}
	d.findings, d.site.Master.Draining = nil, 1
	d.checkWorkers(t.Context())
	if f := withCode(d.findings, "old-workers"); levelOf(f) != levelNote {
		t.Errorf("%+v", f)
	}
}

// The doctor leaves nothing behind but what `nginx -t` itself does.
func TestDoctorChangesNothing(t *testing.T) {
	p := newPatient(t)
	p.start()
	if out, err := exec.CommandContext(t.Context(), "nginx", "-t", "-p", p.dir, "-c", p.path("nginx.conf"), "-e", "stderr").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	list := func() string {
		out, err := exec.CommandContext(t.Context(), "find", p.dir, "-type", "f", "-not", "-name", "*.log", "-printf", "%p %s %T@ %i\n").Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	before := list()
	p.nodes["web3"] = ours("web3", "10.0.0.3") // so that the file that lbd would write is another
	p.examine()
	if after := list(); before != after {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
}

// A site with many locations does not fill the screen.
func TestDoctorOfManyLocations(t *testing.T) {
	p := newPatient(t)
	var locations strings.Builder
	for i := range 8 {
		fmt.Fprintf(&locations, "        location /%d {\n            proxy_pass http://app_backend;\n        }\n", i)
	}
	p.edit("nginx.conf", "        location / {", locations.String()+"        location / {")
	n, more := 0, ""
	for _, f := range p.judged(1022001, func(d *doctor) { d.checkProxying(t.Context()) }) {
		if f.Code == "upstream-keepalive" {
			n, more = n+1, f.What
		}
	}
	if n != 6 || more != "and the same at 11 more places" { // two lines at each of eight
		t.Errorf("%d findings, the last: %s", n, more)
	}
}
