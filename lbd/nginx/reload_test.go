package nginx

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
	"github.com/bazbeans/bazbeans/step"
)

// `nginx -t` passes a port that is taken, `nginx -s reload` returns 0, and Nginx goes on as before.
func TestPortTakenAtReload(t *testing.T) {
	t.Parallel()
	s := running(t)
	port, free := takePort(t)
	defer free()
	taken := File{Path: s.out, Data: append(gen("g1"), fmt.Sprintf("server { listen 127.0.0.1:%d; }\n", port)...)}
	out := s.refuses(step.Reload, []File{taken}, "goes on with the former configuration", "still could not bind()")
	if out.Changed || out.Reloaded || out.Running || out.Workers != 2 {
		t.Errorf("outcome %+v", out)
	}
	s.holds("conf.d/out.conf", gen("g0"))
	s.serves("g0")
	s.clean()

	same := s.undisturbed()
	if out := s.apply(File{Path: s.out, Data: gen("g0")}); !out.Running || out.Reloaded {
		t.Errorf("the former files are back, but not proven: %+v", out)
	}
	same()

	free()
	if out := s.apply(taken); !out.Running {
		t.Errorf("outcome %+v once the port is free", out)
	}
	s.serves("g1")
}

// The operator's own change cannot be loaded: our change is taken back, and the error tells both.
func TestReloadFailsForOthersReasons(t *testing.T) {
	t.Parallel()
	s := running(t)
	port, free := takePort(t)
	defer free()
	s.write("conf.d/theirs.conf", fmt.Sprintf("server { listen 127.0.0.1:%d; }\n", port))
	s.refuses(step.Reload, []File{{Path: s.out, Data: gen("g1")}}, "could not bind()", "the former files are not proven to be served")
	s.holds("conf.d/out.conf", gen("g0"))
	s.serves("g0")
	free()
	// Equal to what is on disk, but the last reload has failed.
	if out := s.apply(File{Path: s.out, Data: gen("g0")}); !out.Reloaded || !out.Running || out.Changed {
		t.Errorf("outcome %+v once the port is free", out)
	}
}

func TestSharedMemoryConflictAtReload(t *testing.T) {
	t.Parallel()
	s := running(t)
	zone := func(size string) File {
		return File{Path: s.out, Data: append(gen("z"+size), "limit_req_zone $"+map[string]string{"1": "host", "2": "uri"}[size]+" zone=z:1m rate=1r/s;\n"...)}
	}
	s.apply(zone("1"))
	const timeout = time.Minute
	s.n = s.open(Options{ReloadTimeout: timeout})
	began := time.Now()
	s.refuses(step.Reload, []File{zone("2")}, `limit_req "z" uses the "$uri" key while previously it used the "$host" key`)
	if took := time.Since(began); took > timeout/2 {
		t.Errorf("%v to see what the log says: it was waited for new workers", took)
	}
	s.serves("z1")
	s.holds("conf.d/out.conf", zone("1").Data)
}

func TestReloadByCommand(t *testing.T) {
	t.Parallel()
	s := running(t)
	reload := func(timeout time.Duration, argv ...string) {
		s.n = s.open(Options{Reload: argv, ReloadTimeout: timeout})
	}
	reload(soon, "nginx", "-s", "reload", "-p", s.dir, "-c", s.nginx.Conf)
	s.apply(File{Path: s.out, Data: gen("g1")})
	s.serves("g1")

	reload(soon, "sh", "-c", "echo it is broken; exit 3")
	s.refuses(step.Reload, []File{{Path: s.out, Data: gen("g2")}}, "exit status 3", "it is broken", "run it by hand")
	s.holds("conf.d/out.conf", gen("g1"))

	reload(soon, "/no/such/command")
	s.refuses(step.Reload, []File{{Path: s.out, Data: gen("g2")}}, "no such file or directory")
	s.holds("conf.d/out.conf", gen("g1"))

	reload(minReloadTimeout, "true") // it says that it has reloaded, and has not
	s.refuses(step.Verify, []File{{Path: s.out, Data: gen("g2")}}, "no proof within", "2 of 2 former workers")
	s.holds("conf.d/out.conf", gen("g1"))
	s.serves("g1")

	pids := filepath.Join(s.dir, "hung")
	reload(minReloadTimeout, "sh", "-c", "sleep 600 & echo $$ $! >> "+pids+"; wait")
	var text []byte
	serverstest.Eventually(t, soon, func() (err error) { // it may be stopped before it has begun
		s.refuses(step.Reload, []File{{Path: s.out, Data: gen("g2")}}, "stopped after")
		s.holds("conf.d/out.conf", gen("g1"))
		text, err = os.ReadFile(pids)
		return err
	})
	for pid := range strings.FieldsSeq(string(text)) {
		id, err := strconv.Atoi(pid)
		if err != nil {
			t.Fatal(err)
		}
		serverstest.Eventually(t, soon, func() error {
			if _, _, ok := stat(id); ok {
				return fmt.Errorf("process %d of the hung command lives", id)
			}
			return nil
		})
	}
}

// An operator's reload is under way when ours is to be asked for: it has read the configuration before our file was
// there, and its workers are new as well. Held up by a taken port, so that the order of things is sure.
func TestReloadWhileAnotherIsUnderWay(t *testing.T) {
	const succeeds, fails = "bind() to", "still could not bind()"
	command := func(s *site) []string { return []string{"nginx", "-s", "reload", "-p", s.dir, "-c", s.nginx.Conf} }
	for _, tc := range []struct {
		name   string
		until  string // the port is freed when Nginx has said this
		reload func(*site) []string
		want   step.Name // "": ours is proven
	}{
		{"that succeeds", succeeds, nil, ""},
		{"that fails", fails, nil, ""},
		{"that succeeds, ours by command", succeeds, command, ""},
		{"that fails, ours by command", fails, command, ""},
		{"that succeeds, our command does nothing", succeeds, func(*site) []string { return []string{"true"} }, step.Verify},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := running(t)
			opt := Options{ReloadTimeout: soon}
			if tc.reload != nil {
				opt.Reload = tc.reload(s)
			}
			if tc.want != "" { // it waits in vain for the other's end, 2.5 s, and for proof
				opt.ReloadTimeout = 2 * minReloadTimeout
			}
			s.n = s.open(opt)
			m := mustStat(t, s.nginx.Master())
			port, free := takePort(t)
			defer free()
			s.write("conf.d/theirs.conf", fmt.Sprintf("server { listen 127.0.0.1:%d; }\n", port))
			if err := m.hangup(); err != nil {
				t.Fatal(err)
			}
			said := func(what string) {
				t.Helper()
				serverstest.Eventually(t, soon, func() error {
					if text, err := os.ReadFile(s.nginx.ErrorLog); err != nil || !strings.Contains(string(text), what) {
						return fmt.Errorf("nginx has not said %q yet (%v)", what, err)
					}
					return nil
				})
			}
			said("bind() to")
			done := make(chan error, 1)
			go func() {
				_, err := s.n.Apply(t.Context(), []File{{Path: s.out, Data: gen("g1")}}, 1)
				done <- err
			}()
			serverstest.Eventually(t, soon, func() error {
				if text, err := os.ReadFile(s.out); err != nil || string(text) != string(gen("g1")) {
					return fmt.Errorf("not installed yet: %q, %v", text, err)
				}
				return nil
			})
			said(tc.until)
			free()
			if tc.want != "" {
				checkError(t, <-done, tc.want, "no proof within")
				s.serves("g0")
				return
			}
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			for range 10 {
				s.serves("g1")
			}
		})
	}
}

// Nginx ends while we wait for its new workers: that is no fault of the files.
func TestMasterEndsDuringReload(t *testing.T) {
	t.Parallel()
	s := running(t)
	s.n = s.open(Options{Reload: []string{"sh", "-c", "kill -TERM $(cat " + s.dir + "/nginx.pid)"}})
	out := s.apply(File{Path: s.out, Data: gen("g1")})
	if !out.Changed || out.Running || out.Reloaded {
		t.Errorf("outcome %+v", out)
	}
	s.holds("conf.d/out.conf", gen("g1"))
}

func TestApplyEndsWithItsContext(t *testing.T) {
	t.Parallel()
	s := running(t)
	ctx, cancel := context.WithCancel(t.Context())
	s.n = s.open(Options{Reload: []string{"sh", "-c", "touch " + s.dir + "/asked; sleep 600"}})
	done := make(chan error, 1)
	go func() {
		_, err := s.n.Apply(ctx, []File{{Path: s.out, Data: gen("g1")}}, 1)
		done <- err
	}()
	serverstest.Eventually(t, soon, func() error {
		_, err := os.Stat(s.dir + "/asked")
		return err
	})
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatalf("Apply: %v", err)
	}
	s.serves("g0")
	s.holds("conf.d/out.conf", gen("g1")) // tested, and to be proven by the next one
	s.n = s.open(Options{})
	if out := s.apply(File{Path: s.out, Data: gen("g1")}); !out.Reloaded || !out.Running || out.Changed {
		t.Errorf("outcome %+v", out)
	}
	s.serves("g1")
}
