package nginx

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/bazbeans/bazbeans/dev/servers"
	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
	"github.com/bazbeans/bazbeans/step"
)

// soon bounds every wait for something that takes moments on a quiet machine.
const soon = time.Minute

func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "6"); err != nil { // these tests mostly wait for Nginx
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// site is a real Nginx whose answer tells which output it has read: the output is a map that sets $gen.
type site struct {
	t      testing.TB
	dir    string
	out    string // the output, conf.d/out.conf
	port   int
	nginx  *servers.Nginx // nil: not running
	n      *Nginx
	client *http.Client
	asked  int64 // generations so far
}

func (s *site) generation() int64 {
	s.asked++
	return s.asked
}

// head is the main configuration up to http's own statements.
func head(dir string) string {
	user := ""
	if os.Geteuid() == 0 {
		user = "user root;\n"
	}
	return user + "worker_processes 2;\npid " + dir + "/nginx.pid;\nerror_log " + dir + "/error.log notice;\nevents {}\nhttp {\n" +
		"access_log off; client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;\n"
}

// gen is an output of generation g.
func gen(g string) []byte { return []byte("map $host $gen { default " + g + "; }\n") }

// newSite writes a configuration whose http{} holds include and a server that answers $gen; files are relative to
// the folder. It starts Nginx unless the configuration has no output yet.
func newSite(t testing.TB, include string, files map[string]string) *site {
	t.Helper()
	s := &site{t: t, dir: serverstest.Dir(t), port: serverstest.Ports(t, 1)[0]}
	s.client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: soon}
	s.out = filepath.Join(s.dir, "conf.d/out.conf")
	s.write("nginx.conf", head(s.dir)+include+fmt.Sprintf("\nserver { listen 127.0.0.1:%d; location / { return 200 $gen; } }\n}\n", s.port))
	for name, text := range files {
		s.write(name, text)
	}
	s.n = s.open(Options{})
	return s
}

// running is newSite, with `include conf.d/*.conf;` and generation "g0" served.
func running(t testing.TB) *site {
	t.Helper()
	s := newSite(t, "include conf.d/*.conf;", map[string]string{"conf.d/out.conf": string(gen("g0"))})
	s.start()
	return s
}

// open returns an *Nginx as a newly started lbd has it; opt needs to hold only what is special.
func (s *site) open(opt Options) *Nginx {
	s.t.Helper()
	opt.Prefix, opt.Conf, opt.StateDir = s.dir, filepath.Join(s.dir, "nginx.conf"), filepath.Join(s.dir, "state")
	if opt.PID == "" {
		opt.PID = filepath.Join(s.dir, "nginx.pid")
	}
	if opt.ReloadTimeout == 0 {
		opt.ReloadTimeout = soon
	}
	opt.Log = slog.New(slog.NewTextHandler(s.t.Output(), nil))
	n, err := New(opt)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

func (s *site) start() {
	s.t.Helper()
	conf, err := os.ReadFile(filepath.Join(s.dir, "nginx.conf"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.nginx = serverstest.Nginx(s.t, servers.NginxOptions{Dir: s.dir, Conf: string(conf)})
	serverstest.Eventually(s.t, soon, func() error {
		if n := len(s.workers()); n != 2 {
			return fmt.Errorf("%d workers", n)
		}
		return nil
	})
}

func (s *site) write(name, text string) {
	s.t.Helper()
	name = filepath.Join(s.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o644)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) append(name, text string) {
	s.t.Helper()
	f, err := os.OpenFile(filepath.Join(s.dir, name), os.O_WRONLY|os.O_APPEND, 0)
	if err == nil {
		_, err = f.WriteString(text)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) link(target, name string) {
	s.t.Helper()
	name = filepath.Join(s.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.Symlink(target, name)); err != nil {
		s.t.Fatal(err)
	}
}

// answer is what Nginx serves.
func (s *site) answer() string {
	resp, err := s.client.Get(fmt.Sprintf("http://127.0.0.1:%d/", s.port))
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error()
	}
	return string(body)
}

func (s *site) serves(want string) {
	s.t.Helper()
	if got := s.answer(); got != want {
		s.t.Errorf("Nginx serves %q, want %q", got, want)
	}
}

func (s *site) apply(files ...File) Outcome {
	s.t.Helper()
	out, err := s.n.Apply(s.t.Context(), files, s.generation())
	if err != nil {
		s.t.Fatalf("Apply: %v", err)
	}
	return out
}

// refuses applies files and checks the step of the error and that its text holds all of want.
func (s *site) refuses(at step.Name, files []File, want ...string) Outcome {
	s.t.Helper()
	out, err := s.n.Apply(s.t.Context(), files, s.generation())
	checkError(s.t, err, at, want...)
	return out
}

func checkError(t testing.TB, err error, at step.Name, want ...string) {
	t.Helper()
	if step.Of(err) != at {
		t.Fatalf("error at step %q, want %q: %v", step.Of(err), at, err)
	}
	for _, text := range want {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error does not say %q: %v", text, err)
		}
	}
}

// holds checks the content of a file below the site's folder.
func (s *site) holds(name string, want []byte) {
	s.t.Helper()
	got, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil || string(got) != string(want) {
		s.t.Errorf("%s holds %q (%v), want %q", name, got, err, want)
	}
}

// clean checks that no temporary file of ours is left.
func (s *site) clean() {
	s.t.Helper()
	err := filepath.WalkDir(s.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if strings.Contains(d.Name(), dotMark) || strings.HasPrefix(d.Name(), shadowMark) {
			s.t.Errorf("left behind: %s", path)
		}
		return nil
	})
	if err != nil {
		s.t.Error(err)
	}
}

// workers are the processes that serve now, without the draining ones.
func (s *site) workers() []process {
	s.t.Helper()
	p, _, ok := stat(s.nginx.Master())
	if !ok {
		s.t.Fatal("nginx has ended")
	}
	working, _ := p.crew()
	return working
}

// undisturbed returns a check that no reload has taken place.
func (s *site) undisturbed() func() {
	s.t.Helper()
	before := s.workers()
	return func() {
		s.t.Helper()
		if now := s.workers(); !slices.Equal(before, now) {
			s.t.Errorf("workers were %v, are %v: there was a reload", before, now)
		}
	}
}

// takePort listens on a port of loopback that is nobody else's, also once it is free.
func takePort(t testing.TB) (port int, free func()) {
	t.Helper()
	port = serverstest.Ports(t, 1)[0]
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", servers.Loopback(port))
	if err != nil {
		t.Fatal(err)
	}
	return port, func() { l.Close() }
}
