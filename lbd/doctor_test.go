package lbd

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/bazbeans/bazbeans/cli"
	realservers "github.com/bazbeans/bazbeans/dev/servers"
	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
	"github.com/bazbeans/bazbeans/pool"
)

// patient is a host to look at: an Nginx configuration that is well, an lbd configuration, and nodes.
type patient struct {
	t     *testing.T
	dir   string
	cfg   Config
	nodes map[string]pool.Node // nil: those of the Redis that cfg names
}

// wellConf is an nginx.conf with which the doctor is content. DIR and PORT are put in.
const wellConf = `worker_processes 1;
worker_shutdown_timeout 10s;
pid DIR/nginx.pid;
error_log DIR/error.log notice;
events {
    worker_connections 1024;
}
http {
    access_log off;
    client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
    proxy_connect_timeout 3s;
    include DIR/conf.d/*.conf;
    server {
        listen 127.0.0.1:PORT;
        location / {
            proxy_pass http://app_backend;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }
    }
}
`

func newPatient(t *testing.T) *patient {
	t.Helper()
	p := &patient{t: t, dir: serverstest.Dir(t), cfg: DefaultConfig()}
	conf := strings.NewReplacer("DIR", p.dir, "PORT", strconv.Itoa(serverstest.Ports(t, 1)[0])).Replace(wellConf)
	if os.Geteuid() == 0 {
		conf = "user root;\n" + conf
	}
	p.write("nginx.conf", conf)
	p.write("conf.d/upstream.conf", "upstream app_backend {\n    zone app_backend 256k;\n    server 127.0.0.1:9 down;\n    keepalive 32;\n}\n")
	u := defaultUpstream()
	u.Output = p.path("conf.d/upstream.conf")
	p.cfg.ID, p.cfg.Upstreams, p.cfg.StateDir = "lb1", []UpstreamConfig{u}, p.path("state")
	p.cfg.Nginx.Prefix, p.cfg.Nginx.Conf, p.cfg.Nginx.PID = p.dir, p.path("nginx.conf"), p.path("nginx.pid")
	p.cfg.Status.Listen = realservers.Loopback(serverstest.Ports(t, 1)[0])
	p.nodes = map[string]pool.Node{"web1": ours("web1", "10.0.0.1"), "web2": ours("web2", "10.0.0.2")}
	return p
}

func (p *patient) path(name string) string { return filepath.Join(p.dir, name) }

func (p *patient) write(name, text string) {
	p.t.Helper()
	if err := os.MkdirAll(filepath.Dir(p.path(name)), 0o755); err != nil {
		p.t.Fatal(err)
	}
	writeTestFile(p.t, p.path(name), text)
}

// edit replaces a piece of a file, which must be in it.
func (p *patient) edit(name, old, replacement string) {
	p.t.Helper()
	text := string(p.read(name))
	if old = strings.ReplaceAll(old, "DIR", p.dir); !strings.Contains(text, old) {
		p.t.Fatalf("%s has no %q", name, old)
	}
	p.write(name, strings.Replace(text, old, strings.ReplaceAll(replacement, "DIR", p.dir), 1))
}

// start runs Nginx on the configuration as it is.
func (p *patient) start() *realservers.Nginx {
	p.t.Helper()
	return serverstest.Nginx(p.t, realservers.NginxOptions{Dir: p.dir, Conf: string(p.read("nginx.conf"))})
}

func (p *patient) examine() []finding {
	p.t.Helper()
	l, err := New(p.cfg, silent)
	if err != nil {
		p.t.Fatal(err)
	}
	defer l.Close()
	if p.nodes != nil {
		if err := l.pool.Close(); err != nil {
			p.t.Fatal(err)
		}
		l.pool = &fakePool{nodes: p.nodes}
	}
	return l.diagnose(p.t.Context()).findings
}

// hurting are the findings that call for something to be done.
func hurting(findings []finding) []finding {
	return slices.DeleteFunc(slices.Clone(findings), func(f finding) bool { return f.Level != levelProblem && f.Level != levelWarning })
}

func codesOf(findings []finding) []string {
	codes := map[string]bool{}
	for _, f := range findings {
		codes[f.Code] = true
	}
	return slices.Sorted(maps.Keys(codes))
}

func withCode(findings []finding, code string) *finding {
	for i, f := range findings {
		if f.Code == code && f.Level != levelOK {
			return &findings[i]
		}
	}
	return nil
}

// plainUpstream is read without the defaults.
type plainUpstream UpstreamConfig

var place = regexp.MustCompile("^in (/\\S+) (outside all blocks|instead of line (\\d+)|inside `.*` of line (\\d+))$")

// heal does what the finding says, to the letter.
func (p *patient) heal(f *finding) {
	p.t.Helper()
	if f.Fix == "" {
		p.t.Fatalf("%s has no fix", f.Code)
	}
	switch m := place.FindStringSubmatch(f.Where); {
	case m != nil:
		text, err := os.ReadFile(m[1])
		if err != nil {
			p.t.Fatal(err)
		}
		lines := strings.Split(string(text), "\n")
		at := 0
		if n := cmp.Or(m[3], m[4]); n != "" {
			at, _ = strconv.Atoi(n)
		}
		if m[3] != "" {
			lines[at-1] = f.Fix
		} else {
			lines = slices.Insert(lines, at, f.Fix)
		}
		writeTestFile(p.t, m[1], strings.Join(lines, "\n"))
	case strings.HasPrefix(f.Where, inConfig+", at upstream "):
		if err := yaml.Unmarshal([]byte(f.Fix), (*plainUpstream)(&p.cfg.Upstreams[0])); err != nil {
			p.t.Fatal(err)
		}
	case f.Fix == "lbd rollback --end":
		var errs bytes.Buffer
		if code := Main(p.t.Context(), []string{"rollback", "--end", "--state-dir", p.cfg.StateDir}, nil, io.Discard, &errs); code != cli.Done {
			p.t.Fatal(errs.String())
		}
	case f.Where == inConfig:
		dec := yaml.NewDecoder(strings.NewReader(f.Fix))
		dec.KnownFields(true)
		if err := dec.Decode(&p.cfg); err != nil {
			p.t.Fatalf("%s: the fix is no config: %v\n%s", f.Code, err, f.Fix)
		}
	case f.Where == inShell:
		if out, err := exec.CommandContext(p.t.Context(), "sh", "-ec", f.Fix).CombinedOutput(); err != nil {
			p.t.Fatalf("%s: %v\n%s", f.Fix, err, out)
		}
	case strings.HasPrefix(f.Where, "in the template "):
		source := regexp.MustCompile(`(?m)^\s*zone .*\n`).ReplaceAllString(string(p.read("templates/own.tmpl")), "")
		p.write("templates/own.tmpl", strings.Replace(source, "{\n", "{\n"+f.Fix+"\n", 1))
	default:
		p.t.Fatalf("%s: nobody knows how to do this %s:\n%s", f.Code, f.Where, f.Fix)
	}
}

func (p *patient) read(name string) []byte {
	p.t.Helper()
	text, err := os.ReadFile(p.path(name))
	if err != nil {
		p.t.Fatal(err)
	}
	return text
}

// template gives the upstream a template of its own.
func (p *patient) template(text string) {
	p.write("templates/own.tmpl", text)
	p.cfg.Templates, p.cfg.Upstreams[0].Template = p.path("templates"), "own.tmpl"
}

const http11 = "            proxy_http_version 1.1;\n"

const connection = "            proxy_set_header Connection \"\";\n"

// Each row makes one thing wrong. The finding must come, with its level, and go when its fix is done to the letter; and
// nothing else may come by that.
func TestEachFixHeals(t *testing.T) {
	for _, row := range []struct {
		name, code string
		level      level
		harm       func(p *patient)
	}{
		{"old workers stay for ever", "shutdown-timeout", levelWarning, func(p *patient) { p.edit("nginx.conf", "worker_shutdown_timeout 10s;\n", "") }},
		{"nothing includes the output", "output-included", levelProblem, func(p *patient) {
			p.edit("nginx.conf", "    include DIR/conf.d/*.conf;\n", "")
		}},
		{"the output's name does not match the glob", "output-included", levelProblem, func(p *patient) {
			p.cfg.Upstreams[0].Output = p.path("conf.d/upstream.lbd")
			if err := os.Remove(p.path("conf.d/upstream.conf")); err != nil {
				p.t.Fatal(err)
			}
		}},
		{"the folder is missing", "output-folder", levelProblem, func(p *patient) {
			if err := os.RemoveAll(p.path("conf.d")); err != nil {
				p.t.Fatal(err)
			}
		}},
		{"an upstream of that name stands elsewhere", "upstream-twice", levelProblem, func(p *patient) {
			p.write("conf.d/old.conf", "upstream app_backend {\n    server 10.0.0.1:80;\n}\n")
		}},
		{"the error log goes to nowhere", "error-log", levelWarning, func(p *patient) { p.edit("nginx.conf", "error_log DIR/error.log", "error_log /dev/null") }},
		{"error_log off", "error-log", levelWarning, func(p *patient) { p.edit("nginx.conf", "error_log DIR/error.log notice", "error_log off") }},
		{"HTTP/1.0 to the nodes", "upstream-keepalive", levelWarning, func(p *patient) { p.edit("nginx.conf", http11, "") }},
		{"HTTP/1.0 by somebody's will", "upstream-keepalive", levelWarning, func(p *patient) { p.edit("nginx.conf", "proxy_http_version 1.1", "proxy_http_version 1.0") }},
		{"Connection: close", "upstream-keepalive", levelWarning, func(p *patient) { p.edit("nginx.conf", connection, "") }},
		{"neither line", "upstream-keepalive", levelWarning, func(p *patient) { p.edit("nginx.conf", http11+connection, "") }},
		{"headers of the server block", "upstream-keepalive", levelWarning, func(p *patient) {
			p.edit("nginx.conf", connection, "")
			p.edit("nginx.conf", "        location / {", "        proxy_set_header Host $host;\n        location / {")
		}},
		{"proxy_pass within if", "upstream-keepalive", levelWarning, func(p *patient) {
			p.edit("nginx.conf", http11+connection, "            if ($arg_x) {\n                proxy_pass http://app_backend;\n            }\n")
		}},
		{"no next node", "next-upstream", levelWarning, func(p *patient) { p.edit("nginx.conf", http11, http11+"            proxy_next_upstream off;\n") }},
		{"a POST twice", "next-upstream", levelWarning, func(p *patient) {
			p.edit("nginx.conf", "    proxy_connect", "    proxy_next_upstream error timeout non_idempotent;\n    proxy_connect")
		}},
		{"a minute for a dead host", "connect-timeout", levelNote, func(p *patient) { p.edit("nginx.conf", "    proxy_connect_timeout 3s;\n", "") }},
		{"two minutes for a dead host", "connect-timeout", levelNote, func(p *patient) { p.edit("nginx.conf", "proxy_connect_timeout 3s", "proxy_connect_timeout 2m") }},
		{"few files", "worker-files", levelWarning, func(p *patient) { p.edit("nginx.conf", "events {", "worker_rlimit_nofile 512;\nevents {") }},
		{"few connections", "worker-connections", levelWarning, func(p *patient) { p.edit("nginx.conf", "worker_connections 1024", "worker_connections 40") }},
		{"no master", "master-process", levelProblem, func(p *patient) { p.edit("nginx.conf", "events {", "master_process off;\nevents {") }},
		{"another pid file", "pid-path", levelProblem, func(p *patient) { p.cfg.Nginx.PID = p.path("other.pid") }},
		{"no zone", "upstream-zone", levelWarning, func(p *patient) {
			p.template("upstream {{.Name}} {\n{{range .Servers}}    server {{.Addr}}{{.Params}};\n{{end}}}\n")
		}},
		{"a zone too small", "zone-size", levelProblem, func(p *patient) { p.crowd(60, "64k") }},
		{"a zone soon too small", "zone-size", levelWarning, func(p *patient) { p.crowd(100, "128k") }},
		{"an open status", "status-open", levelWarning, func(p *patient) {
			p.cfg.Status.Listen = strings.TrimPrefix(p.cfg.Status.Listen, "127.0.0.1") // not 9180: another lbd of this host answers there
		}},
		{"a reload for each change", "min-interval", levelWarning, func(p *patient) { p.cfg.Timing.MinInterval = 0 }},
		{"more nodes wanted than there are", "min-nodes", levelProblem, func(p *patient) { p.cfg.Guard.MinNodes = 5 }},
		{"any loss is believed", "guard-shrink", levelWarning, func(p *patient) { p.cfg.Guard.MaxShrink = 100 }},
		{"a full upstream", "max-nodes", levelWarning, func(p *patient) { p.cfg.Upstreams[0].MaxNodes = 2 }},
		{"an old generation is pinned", "pinned", levelWarning, func(p *patient) {
			p.write("state/pin.json", `{"generation": 7, "by": "ann", "at": "2026-11-22T00:00:00Z"}`)
		}},
		{"a pin that can't be read", "pinned", levelWarning, func(p *patient) { p.write("state/pin.json", "{") }},
		{"a short hold", "guard-hold", levelWarning, func(p *patient) { p.cfg.Guard.Hold = 0 }},
		{"a short window", "guard-window", levelWarning, func(p *patient) { p.cfg.Guard.Window = 0 }},
		{"all networks", "allow-networks", levelWarning, func(p *patient) { p.cfg.AllowNetworks = []string{"0.0.0.0/0"} }},
		{"loopback", "allow-networks", levelWarning, func(p *patient) { p.cfg.AllowNetworks = []string{"10.0.0.0/8", "127.0.0.0/16"} }},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := newPatient(t)
			// Whether Nginx runs is not the question here; and who uses an upstream of another name only he can say.
			before := append(codesOf(hurting(p.examine())), "nginx-master", "master-conf", "upstream-used")
			row.harm(p)
			f := withCode(p.examine(), row.code)
			if f == nil || f.Level != row.level {
				t.Fatalf("got %+v, want %s at level %s", f, row.code, row.level)
			}
			for tries := 0; f != nil; f = withCode(p.examine(), row.code) {
				if tries++; tries > 3 {
					t.Fatalf("it does not heal: %+v\n%s", f, p.read("nginx.conf"))
				}
				// The log that is built in is the machine's own.
				f.Fix = regexp.MustCompile(`^error_log \S+`).ReplaceAllLiteralString(f.Fix, "error_log "+p.path("error.log"))
				p.heal(f)
			}
			after := p.examine()
			for _, code := range codesOf(hurting(after)) {
				if !slices.Contains(before, code) {
					t.Errorf("the fix brought %+v", withCode(after, code))
				}
			}
		})
	}
}

// crowd gives the upstream n nodes and a template whose zone has a fixed size.
func (p *patient) crowd(n int, zone string) {
	for i := range n {
		id := fmt.Sprintf("node%03d", i)
		p.nodes[id] = ours(id, fmt.Sprintf("10.0.1.%d", i+1))
	}
	p.template("upstream {{.Name}} {\n    zone {{.Name}} " + zone + ";\n{{range .Servers}}    server {{.Addr}}{{.Params}};\n{{end}}}\n")
}

// A host where all is well, with all servers running: nothing hurts.
func TestTheDoctorIsContent(t *testing.T) {
	p := newPatient(t)
	p.start()
	p.cfg.Redis.URL, p.nodes = serverstest.Redis(t, "--appendonly", "yes").URL(), nil
	for _, f := range hurting(p.examine()) {
		switch f.Code {
		case "redis-rights", "redis-latency": // the user default may do everything; and machines are busy
		case "state-volatile": // temporary files are, on many hosts
		default:
			t.Errorf("%+v", f)
		}
	}
}

func TestDoctorCommand(t *testing.T) {
	p := newPatient(t)
	file := p.path("lbd.yaml")
	writeTestFile(t, file, fmt.Sprintf("nginx: {prefix: %s, conf: nginx.conf, pid: %s}\nupstreams: [{name: app_backend, output: %s}]\nstatus: {listen: ''}\n",
		p.dir, p.path("nginx.pid"), p.path("conf.d/upstream.conf")))
	args := []string{"doctor", "--config", file, "--redis-url", "redis://127.0.0.1:1"}
	code, out, errs := runLBD(t, args...)
	if code != cli.Failed || errs != "lbd: there are problems: [redis]\n" {
		t.Errorf("exit %d, stderr %q", code, errs)
	}
	for line := range strings.Lines(out) {
		if len([]rune(line)) > printWidth+1 && strings.Contains(strings.TrimSpace(line), " ") && !strings.Contains(line, p.dir) {
			t.Errorf("wider than %d: %q", printWidth, line)
		}
	}
	for _, want := range []string{"Nginx\n  ok       nginx-binary: nginx 1.", "  problem  redis: redis at 127.0.0.1:1", "1 problem"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	args[len(args)-1] = serverstest.Redis(t).URL() // all that is left are warnings
	if code, out, errs := runLBD(t, args...); code != cli.Done || errs != "" || !strings.Contains(out, "  warning  redis-persistence: ") {
		t.Errorf("exit %d, stderr %q\n%s", code, errs, out)
	}
	args[len(args)-1] = "redis://127.0.0.1:1"
	code, out, _ = runLBD(t, append(args, "-o", "json")...)
	var all []finding
	if err := json.Unmarshal([]byte(out), &all); err != nil || code != cli.Failed || withCode(all, "redis") == nil {
		t.Errorf("exit %d, %v\n%s", code, err, out)
	}
}

// A finding holds foreign text: it must not reach a terminal raw.
func TestFindingsArePrintable(t *testing.T) {
	var out bytes.Buffer
	f := finding{Group: "g", Code: "c", Level: levelWarning, What: "a\x1b[31mb \u202ec", Means: "m\rm", Where: "w\x07w", Fix: "one\x1b[0m\ntwo"}
	if err := printFindings(&out, []finding{f}); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); strings.ContainsAny(got, "\x1b\r\x07\u202e") || !strings.Contains(got, "             two\n") {
		t.Errorf("%q", got)
	}
}
