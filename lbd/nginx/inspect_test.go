package nginx

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
)

func inspect(t *testing.T, s *site, files ...File) *Inspection {
	t.Helper()
	in, err := s.n.Inspect(t.Context(), files)
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func TestInspectReadsWhatNginxReads(t *testing.T) {
	s := newSite(t, "include conf.d/*.conf;\ninclude outer.conf;", map[string]string{
		"outer.conf":       "server {\n  proxy_set_header A a;\n  proxy_set_header B b;\n  include inner.conf;\n  location /y { proxy_set_header C c; proxy_pass http://y; }\n}\n",
		"inner.conf":       "location /x {\n  proxy_pass http://x;\n}\n",
		"conf.d/mine.conf": "map $uri $m { include 1; }\n",
		"1":                "/ 2;\n",
	})
	in := inspect(t, s, File{Path: s.out, Data: gen("wanted")}, File{Path: filepath.Join(s.dir, "1"), Data: []byte("/ 3;")},
		File{Path: filepath.Join(s.dir, "conf.d/out.txt"), Data: gen("nowhere")})

	if in.Broken != "" || in.Version < 1000000 || in.Conf != filepath.Join(s.dir, "nginx.conf") || in.Prefix != s.dir || len(in.Built) < 5 {
		t.Errorf("%+v", in)
	}
	if got := in.Reached[s.out]; len(got) != 1 || !slices.Equal(got[0], Context{"http"}) {
		t.Errorf("the output is included in %v", got)
	}
	if got := in.Reached[filepath.Join(s.dir, "1")]; len(got) != 1 || !slices.Equal(got[0], Context{"http", "map"}) {
		t.Errorf("the entry is included in %v", got)
	}
	if got := in.Reached[filepath.Join(s.dir, "conf.d/out.txt")]; got != nil {
		t.Errorf("a file that no glob names is included in %v", got)
	}
	maps := in.Named("map") // byte order: mine.conf, then out.conf as it is wanted
	if len(maps) != 2 || maps[0].Ours || !maps[1].Ours || maps[1].Block[0].String() != "default wanted" || maps[0].Block[0].String() != "/ 3" {
		t.Errorf("maps %v", maps)
	}
	passes := in.Named("proxy_pass")
	if len(passes) != 2 {
		t.Fatalf("%v", passes)
	}
	x, y := passes[0], passes[1]
	if x.File != filepath.Join(s.dir, "inner.conf") || x.Line != 2 || x.Context().String() != "http > server > location" || !x.Within("server") || x.Within("map") {
		t.Errorf("%+v in %s", x, x.Context())
	}
	holds := func(d *Directive) string { return fmt.Sprint(in.Holding(d, "proxy_set_header")) }
	if a, c := holds(x), holds(y); a != "[proxy_set_header A a proxy_set_header B b]" || c != "[proxy_set_header C c]" {
		t.Errorf("at x %s, at y %s", a, c)
	}
	if in.Holding(x, "proxy_bind") != nil || x.Arg(0) != "http://x" || x.Arg(7) != "" {
		t.Error("what is not there is found")
	}
	if top := in.Named("worker_processes"); len(top) != 1 || top[0].Context().String() != "the main context" {
		t.Errorf("%v", top)
	}
	if !slices.Equal(in.Logs, []string{s.dir + "/error.log"}) || in.PIDFile.Configured != s.dir+"/nginx.pid" || in.ErrorLog == "" {
		t.Errorf("logs %v, pid file %+v", in.Logs, in.PIDFile)
	}
}

// Who looks without the lock may do so while our files are put in place: they are ours all the same.
func TestInspectBesideAnInstall(t *testing.T) {
	s := newSite(t, "include conf.d/*.conf;", map[string]string{"conf.d/out.conf": string(gen("g0"))})
	stop, stopped := make(chan struct{}), make(chan error, 1)
	go func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				stopped <- nil
				return
			default:
			}
			if err := errors.Join(os.WriteFile(s.out+".new", gen(fmt.Sprint("g", i)), 0o600), os.Rename(s.out+".new", s.out)); err != nil {
				stopped <- err
				return
			}
		}
	}()
	defer func() {
		close(stop)
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	}()
	for range 100 {
		in := inspect(t, s, File{Path: s.out, Data: gen("wanted")})
		maps := in.Named("map")
		if len(maps) != 1 || !maps[0].Ours || maps[0].Block[0].String() != "default wanted" {
			t.Fatalf("beside an install the configuration has %v, of ours %t", maps, len(maps) == 1 && maps[0].Ours)
		}
	}
}

// What is broken is told, and what was read before it is there; a circle of includes ends.
func TestInspectOfABrokenConfiguration(t *testing.T) {
	s := newSite(t, "include conf.d/*.conf;", map[string]string{"conf.d/a.conf": "include conf.d/a.conf;\nserver { listen 1;", "conf.d/b.conf": "map $a $b {}\n"})
	in := inspect(t, s)
	if !strings.Contains(in.Broken, "a.conf: line 2: unexpected end of file") || len(in.Named("map")) != 1 {
		t.Errorf("%+v", in)
	}
	// Without a pid line it is the one that is built in.
	s.write("nginx.conf", "events {}\n")
	if in := inspect(t, s); !filepath.IsAbs(in.PIDFile.Configured) || strings.HasPrefix(in.PIDFile.Configured, s.dir+"/nginx") || !slices.Equal(in.Logs, []string{in.ErrorLog}) {
		t.Errorf("%+v", in)
	}
	if err := os.Remove(filepath.Join(s.dir, "nginx.conf")); err != nil {
		t.Fatal(err)
	}
	if in := inspect(t, s); !strings.Contains(in.Broken, "no such file") || in.Main != nil {
		t.Errorf("%+v", in)
	}
	if _, err := s.open(Options{Binary: "no-such-nginx"}).Inspect(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "no-such-nginx") {
		t.Error(err)
	}
}

func TestInspectFindsTheMaster(t *testing.T) {
	s := running(t)
	in := inspect(t, s)
	m := in.Master
	if m == nil || m.PID != s.nginx.Master() || m.UID != os.Geteuid() || m.Workers != 2 || m.Draining != 0 || m.NoFile == 0 || m.Replaced {
		t.Fatalf("%+v (%s)", m, in.Why)
	}
	if !samePath(m.Conf, in.Conf) || m.Global != "daemon off;" {
		t.Errorf("%+v", m)
	}
	// A pid file that somebody emptied hides it; it is found all the same.
	s.write("nginx.pid", "")
	in = inspect(t, s)
	if in.Master != nil || !in.PIDFile.Empty || in.Why == "" || !slices.ContainsFunc(in.Masters, func(m Master) bool { return m.PID == s.nginx.Master() && samePath(m.Conf, in.Conf) }) {
		t.Errorf("%+v", in)
	}
}

// Draining workers are counted and weighed.
func TestInspectOfDrainingWorkers(t *testing.T) {
	s := running(t)
	s.hold()
	s.serves("g0") // by then the held one was accepted, or it waits for the same worker
	s.apply(File{Path: s.out, Data: gen("g1")})
	serverstest.Eventually(t, soon, func() error {
		if m := inspect(t, s).Master; m.Draining == 0 || m.Memory == 0 || m.Oldest <= 0 || m.Workers != 2 {
			return fmt.Errorf("%+v", m)
		}
		return nil
	})
}

// A rehearsal tells what Test tells, and leaves nothing behind, not even a state folder.
func TestRehearse(t *testing.T) {
	s := running(t)
	undisturbed := s.undisturbed()
	before := s.files()
	if err := s.n.Rehearse(t.Context(), []File{{Path: s.out, Data: gen("g1")}}); err != nil {
		t.Error(err)
	}
	if err := s.n.Rehearse(t.Context(), []File{{Path: s.out, Data: []byte("map $host $gen { nonsense")}}); err == nil || !strings.Contains(err.Error(), s.out) {
		t.Error(err)
	}
	if err := s.n.Rehearse(t.Context(), []File{{Path: filepath.Join(s.dir, "elsewhere/x.conf"), Data: gen("g1")}}); err == nil {
		t.Error("a folder that is not there is no trouble")
	}
	if why, err := s.n.TestLive(t.Context()); why != "" || err != nil {
		t.Error(why, err)
	}
	if after := s.files(); !slices.Equal(before, after) {
		t.Errorf("files were %v, are %v", before, after)
	}
	undisturbed()
	s.serves("g0")
}

// files lists all that is in the site's folder, Nginx's logs aside.
func (s *site) files() (names []string) {
	s.t.Helper()
	err := filepath.WalkDir(s.dir, func(path string, _ fs.DirEntry, err error) error {
		if !strings.HasSuffix(path, ".log") {
			names = append(names, path)
		}
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return names
}

func TestInspectOfPlaces(t *testing.T) {
	s := newSite(t, "", map[string]string{"conf.d/real.conf": "x"})
	s.link("real.conf", "conf.d/link.conf")
	in := inspect(t, s, File{Path: filepath.Join(s.dir, "conf.d/link.conf")}, File{Path: filepath.Join(s.dir, "none/x.conf")},
		File{Path: filepath.Join(s.dir, "conf.d")}, File{Path: filepath.Join(s.dir, "conf.d/new.conf")})
	link, none, folder, fresh := in.Outputs[0], in.Outputs[1], in.Outputs[2], in.Outputs[3]
	if link.Real != filepath.Join(s.dir, "conf.d/real.conf") || !link.Exists || link.Mount || link.Err != nil || link.Folder != nil {
		t.Errorf("%+v", link)
	}
	if none.Err != nil || !errors.Is(none.Folder, fs.ErrNotExist) {
		t.Errorf("%+v", none)
	}
	if folder.Err == nil {
		t.Errorf("%+v", folder)
	}
	if fresh.Err != nil || fresh.Exists || fresh.Folder != nil {
		t.Errorf("%+v", fresh)
	}
	if !mountPoint("/proc") || mountPoint(s.dir) || unoctal.Replace(`/a\040b\134`) != `/a b\` {
		t.Error("mount points")
	}
}
