package nginxtest

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
)

// The operator breaks a file of his own. lbd says so and changes nothing, though the pool changes; when the file is
// mended, all goes on by itself.
func TestOperatorsFileIsBroken(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{nodes: []string{"web1", "web2"}})
	traffic := s.traffic()
	mine := filepath.Join(filepath.Dir(s.output), "mine.conf")
	write(t, mine, "server {\n    listen 127.0.0.1:1 nonsense;\n}\n")
	wantUntouched, reloads := s.fileAsItIs(), s.reloads()

	s.bbctl("freeze", "web1")
	s.want("/readyz", 503, mine+":2", "nonsense")
	s.lbd.wantLog(mine+":2", "nonsense")
	if r := s.bbctlExit(4, "freeze", "web1", "--wait", "--deadline", "3s"); !containsAll(r.stderr, "lb1") {
		t.Errorf("want lb1 to be named: %v", r)
	}
	traffic.wantReaches("web1", "web2")
	wantUntouched()
	if s.reloads() != reloads || s.mustStatus().LastApply.Step != "test" {
		t.Errorf("%d reloads, %d before; last apply %+v, want one that failed at step test", s.reloads(), reloads, s.mustStatus().LastApply)
	}
	s.run("check").want(t, 1, mine+":2")

	write(t, mine, "# mended\n")
	s.wantServers("web2")
	s.want("/readyz", 200)
	traffic.wantNoHarm()
}

// Nginx is not running: the file is tested and installed, the state says so, and lbd does not start Nginx. When
// somebody does, it serves what is wanted.
func TestNginxIsNotRunning(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{nodes: []string{"web1", "web2"}})
	if err := s.nginx.Stop(); err != nil {
		t.Fatal(err)
	}
	s.want("/readyz", 503, "nginx is not running")
	s.bbctl("freeze", "web1")
	serverstest.Eventually(t, soon, func() error {
		got, st := s.servers(s.output), s.mustStatus()
		if len(got) != 1 || got[0] != "web2" || st.Written != st.Wanted || st.Running != 0 {
			return fmt.Errorf("servers are %v, /status: %+v", got, st)
		}
		return nil
	})
	s.want("/readyz", 503, "nginx is not running")
	if s.nginx.Alive() {
		t.Fatal("lbd has started nginx")
	}

	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	if err := s.nginx.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	s.wantServers("web2")
	s.want("/readyz", 200)
	s.bbctl("unfreeze", "web1", "--wait")
	s.wantServers("web1", "web2")
}

// The output is a file that somebody wrote by hand, with servers in it. It stays while the pool has nobody to serve, is
// taken over by the first node, and its original is kept.
func TestFileIsTakenOver(t *testing.T) {
	t.Parallel()
	app := (&site{t: t, nodes: map[string]*node{}}).application("old", "127.0.0.1:0")
	byHand := "# by hand, 2019\nupstream app_backend { server " + app.app.Addr() + " max_fails=3; }\n"
	s := newSite(t, options{files: map[string]string{"conf.d/upstream.conf": byHand}})
	s.nodes["old"] = app
	traffic := s.traffic()
	s.want("/readyz", 503, "left as it is")
	s.wantLooks(1)
	traffic.wantReaches("old")
	if got := read(t, s.output); got != byHand {
		t.Fatalf("an empty pool has replaced a file with servers by\n%s", got)
	}

	s.node("web1")
	s.wantServers("web1")
	traffic.wantReaches("web1")
	s.lbd.wantLog("took over", s.output)
	if kept := s.kept(byHand); len(kept) != 1 {
		t.Errorf("the original is kept in %v below state_dir, want one file", kept)
	}
	s.bbctl("freeze", "web1") // later files are no originals
	s.node("web2")
	s.wantServers("web2")
	if kept := s.kept(byHand); len(kept) != 1 {
		t.Errorf("after more changes the original is kept in %v below state_dir, want one file", kept)
	}
	traffic.wantNoHarm()
}

// kept lists the files below state_dir with this content.
func (b *balancer) kept(text string) (files []string) {
	b.s.t.Helper()
	err := filepath.WalkDir(filepath.Join(b.dir, "state"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			var got []byte
			if got, err = os.ReadFile(path); string(got) == text {
				files = append(files, path)
			}
		}
		return err
	})
	if err != nil {
		b.s.t.Fatal(err)
	}
	return files
}
