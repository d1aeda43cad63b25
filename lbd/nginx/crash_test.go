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
	s.n = s.open(Options{Proof: os.Getenv("NGINX_TEST_PROOF")})
	for i := 0; ; i++ {
		s.apply(s.several(fmt.Sprint("k", i), i%2 == 0)...)
	}
}

// several is a generation of four outputs. Two of them come and go: one cannot be without the other.
func (s *site) several(g string, pair bool) []File {
	path := func(name string) string { return filepath.Join(s.dir, "conf.d", name) }
	return []File{
		{Path: s.out, Data: gen(g)},
		{Path: path("two.conf"), Data: []byte("map $host $two { default " + g + "; }\n")},
		{Path: path("user.conf"), Data: []byte("map $made $used { default 1; }\n"), Remove: !pair},
		{Path: path("maker.conf"), Data: []byte("map $host $made { default 1; }\n"), Remove: !pair},
	}
}

// starts checks that Nginx starts with what is on disk, however it and lbd have ended. reboot also takes away what is
// in memory only.
func (s *site) starts(reboot func()) {
	s.t.Helper()
	if err := s.nginx.Kill(); err != nil {
		s.t.Fatal(err)
	}
	reboot()
	if err := s.nginx.Restart(s.t.Context()); err != nil {
		s.t.Fatalf("nginx does not start with what a killed lbd has left: %v", err)
	}
}

// Whenever lbd is killed, what is on disk passes the test and is enough for Nginx to start, and the next lbd goes on
// from there.
func TestKilledAtAnyMoment(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"", "tcp", "unix"} {
		t.Run("proof by "+kind, func(t *testing.T) {
			t.Parallel()
			s := running(t)
			opt := Options{}
			if kind != "" {
				opt.Proof = s.proofAt(kind)
			}
			reboot := func() {
				names, _ := filepath.Glob(strings.ReplaceAll(strings.TrimPrefix(opt.Proof, "unix:"), generationMark, "*"))
				for _, name := range names {
					_ = os.Remove(name)
				}
			}
			for i := range 8 {
				s.killAnLbd(opt)
				if out, err := exec.Command("nginx", "-t", "-p", s.dir, "-c", s.nginx.Conf).CombinedOutput(); err != nil {
					live, _ := os.ReadFile(s.out)
					t.Fatalf("killed, and what is on disk is refused: %v\n%s\n%s", err, out, live)
				}
				if i%4 == 1 {
					s.starts(reboot)
				}
				if i%4 == 3 {
					s.n = s.open(opt)
					if out := s.apply(s.several(fmt.Sprint("a", i), false)...); !out.Running {
						t.Fatalf("outcome %+v", out)
					}
					s.serves(fmt.Sprint("a", i))
					s.clean()
				}
			}
		})
	}
}

// killAnLbd lets another process apply for some time.
func (s *site) killAnLbd(opt Options) {
	s.t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^TestAppliesForEver$")
	child.Env = append(os.Environ(), "NGINX_TEST_SITE="+s.dir, "NGINX_TEST_PROOF="+opt.Proof)
	begun, err := os.ReadFile(s.out)
	if err == nil {
		err = child.Start()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	serverstest.Eventually(s.t, soon, func() error { // it works; then somewhere within an Apply
		if now, err := os.ReadFile(s.out); err != nil || bytes.Equal(now, begun) {
			return fmt.Errorf("no change yet (%v)", err)
		}
		return nil
	})
	time.Sleep(time.Duration(rand.IntN(200)) * time.Millisecond)
	_ = child.Process.Kill()
	_ = child.Wait()
}

// lbd is killed after each rename of an Apply in turn.
func TestKilledBetweenTwoRenames(t *testing.T) {
	t.Parallel()
	s := running(t)
	for _, pair := range []bool{true, false} {
		for after := range 5 {
			s.n = s.open(Options{})
			s.apply(s.several("before", !pair)...)
			b, err := s.n.setup(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			outs, err := s.n.outputs(s.several("after", pair))
			if err == nil {
				err = stage(outs)
			}
			if err != nil {
				t.Fatal(err)
			}
			order, err := s.n.order(t.Context(), b, outs)
			if err != nil || len(order) != 4 {
				t.Fatalf("order %v, %v", order, err)
			}
			s.n.tidy.Wait()
			if err := s.n.install(order[:after]); err != nil {
				t.Fatal(err)
			}
			// Killed here: what is staged and kept stays.
			s.starts(func() {})
			s.n = s.open(Options{})
			if out := s.apply(s.several("next", pair)...); !out.Running {
				t.Errorf("after %d renames: outcome %+v", after, out)
			}
			s.serves("next")
			s.clean()
			for _, o := range outs {
				if o.synced != nil {
					<-o.synced
				}
			}
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
