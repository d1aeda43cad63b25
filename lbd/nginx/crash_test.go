package nginx

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
	"github.com/bazbeans/bazbeans/step"
)

// TestAppliesForEver is no test: it is the lbd that TestKilledAtAnyMoment kills.
func TestAppliesForEver(t *testing.T) {
	dir := os.Getenv("NGINX_TEST_SITE")
	if dir == "" {
		return
	}
	s := &site{t: t, dir: dir, out: filepath.Join(dir, "conf.d/out.conf")}
	s.n = s.open(Options{})
	for i := 0; ; i++ {
		s.apply(File{Path: s.out, Data: gen(fmt.Sprint("k", i))},
			File{Path: filepath.Join(dir, "conf.d/two.conf"), Data: fmt.Appendf(nil, "map $host $two { default %d; }\n", i)})
	}
}

// Whenever lbd is killed, what is on disk passes the test, and the next lbd goes on from there.
func TestKilledAtAnyMoment(t *testing.T) {
	t.Parallel()
	s := running(t)
	for i := range 12 {
		child := exec.Command(os.Args[0], "-test.run=^TestAppliesForEver$")
		child.Env = append(os.Environ(), "NGINX_TEST_SITE="+s.dir)
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		begun, err := os.ReadFile(s.out)
		if err != nil {
			t.Fatal(err)
		}
		serverstest.Eventually(t, 10*time.Second, func() error { // it works; then somewhere within an Apply
			if now, err := os.ReadFile(s.out); err != nil || bytes.Equal(now, begun) {
				return fmt.Errorf("no change yet (%v)", err)
			}
			return nil
		})
		time.Sleep(time.Duration(rand.IntN(130)) * time.Millisecond)
		_ = child.Process.Kill()
		_ = child.Wait()
		if out, err := exec.Command("nginx", "-t", "-p", s.dir, "-c", s.nginx.Conf).CombinedOutput(); err != nil {
			live, _ := os.ReadFile(s.out)
			t.Fatalf("killed, and what is on disk is refused: %v\n%s\n%s", err, out, live)
		}
		if i%4 == 3 {
			s.n = s.open(Options{})
			if out := s.apply(File{Path: s.out, Data: gen(fmt.Sprint("a", i))}); !out.Running {
				t.Fatalf("outcome %+v", out)
			}
			s.serves(fmt.Sprint("a", i))
			s.apply(File{Path: filepath.Join(s.dir, "conf.d/two.conf"), Data: nil})
			s.clean()
		}
	}
}

// Under traffic, with good and bad files in turn: no request fails, and nobody ever sees a bad file.
func TestTrafficSeesNoBadFile(t *testing.T) {
	t.Parallel()
	s := running(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var g errgroup.Group
	g.Go(func() error {
		for ctx.Err() == nil {
			if got := s.answer(); !strings.HasPrefix(got, "g") {
				return fmt.Errorf("answer %q", got)
			}
		}
		return nil
	})
	g.Go(func() error {
		for ctx.Err() == nil {
			if text, err := os.ReadFile(s.out); err != nil || !bytes.HasPrefix(text, []byte("map $host $gen { default g")) {
				return fmt.Errorf("the live file holds %q, %w", text, err)
			}
		}
		return nil
	})
	g.Go(func() error {
		for ctx.Err() == nil {
			if out, err := exec.Command("nginx", "-t", "-p", s.dir, "-c", s.nginx.Conf).CombinedOutput(); err != nil {
				return fmt.Errorf("nginx -t of somebody else: %w\n%s", err, out)
			}
			if _, err := s.n.State(ctx); err != nil && ctx.Err() == nil {
				return err
			}
		}
		return nil
	})
	for i := range 8 {
		s.apply(File{Path: s.out, Data: gen(fmt.Sprint("g", i))})
		s.serves(fmt.Sprint("g", i))
		s.refuses(step.Test, []File{{Path: s.out, Data: []byte("borken;")}})
	}
	stop()
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
}

func TestConcurrentApplies(t *testing.T) {
	t.Parallel()
	s := running(t)
	other := s.open(Options{}) // as `lbd once` beside the daemon
	var g errgroup.Group
	for i := range 6 {
		n := s.n
		if i%2 == 1 {
			n = other
		}
		g.Go(func() error {
			out, err := n.Apply(t.Context(), []File{{Path: s.out, Data: gen(fmt.Sprint("c", i))}}, 1)
			if err == nil && !out.Running {
				err = errors.New("not running")
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	s.holds("conf.d/out.conf", gen(s.answer()))
	s.clean()
}
