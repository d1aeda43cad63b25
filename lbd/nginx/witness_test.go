package nginx

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
	"github.com/bazbeans/bazbeans/step"
)

func TestParseListener(t *testing.T) {
	memory, err := os.MkdirTemp("/dev/shm", "lbd-test-") // where /run is, on most hosts: a file system in memory
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(memory)
	for proof, want := range map[string]string{
		"": "", "127.0.0.1:9181": "", "[::1]:9181": "", "10.0.0.1:9181": "", "unix:/run/lbd-{generation}.sock": "", "unix:/run/lbd.sock": "",
		"unix:/dev/shm/lbd.sock": "", "unix:/var/lib/{generation}": "", "unix:/run/lock/x": "gone after a reboot",
		"9181": "neither", ":9181": "neither", "localhost:9181": "neither", "0.0.0.0:9181": "neither", "127.0.0.1:0": "neither", "127.0.0.1:{generation}": "neither",
		"unix:lbd.sock": "not the absolute path", "unix:": "not the absolute path", "unix:/run/": "not the absolute path",
		"unix:/run/{generation}/lbd.sock": "in braces", "unix:/run/{gen}.sock": "in braces", "unix:/no/such/folder/x": "no such file",
		"unix:/run/" + strings.Repeat("x", 110):     "longer than 107 bytes",
		"unix:" + memory + "/lbd-{generation}.sock": "gone after a reboot",
	} {
		_, err := New(Options{Proof: proof})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", proof, err, want)
		}
	}
}

func TestListenerTaken(t *testing.T) {
	tcp, unix := listener{"tcp", "127.0.0.1:9181"}, listener{"unix", "/run/x.sock"}
	for address, want := range map[string]bool{
		"9181": true, "*:9181": true, "0.0.0.0:9181": true, "[::]:9181": true, "127.0.0.1:9181": true, "localhost:9181": true,
		"80": false, "127.0.0.2:9181": false, "[::1]:9181": false, "127.0.0.1": false, "unix:/run/x.sock": false, "[::]": false, "": false,
	} {
		if tcp.taken(address) != want {
			t.Errorf("%q: %v", address, !want)
		}
	}
	if !unix.taken("unix:/run//x.sock") || unix.taken("unix:/run/y.sock") || unix.taken("9181") {
		t.Error("a unix socket is taken for another")
	}
}

// proofAt is an address for the site alone, of a kind.
func (s *site) proofAt(kind string) string {
	s.t.Helper()
	if kind == "tcp" {
		return fmt.Sprintf("127.0.0.1:%d", serverstest.Ports(s.t, 1)[0])
	}
	stem := "/dev/shm/lbd-test-" + random() // a folder that a reboot leaves in place, wherever temporary files are
	s.t.Cleanup(func() {
		left, _ := filepath.Glob(stem + "*")
		for _, name := range left {
			_ = os.Remove(name)
		}
	})
	if kind == "unix" {
		return "unix:" + stem + "-" + generationMark
	}
	return "unix:" + stem
}

// asks returns what the proof listener says of a generation, however long it takes for that.
func (s *site) asks(generation int64) string {
	answer, err := s.n.listener.ask(s.t.Context(), s.n.listener.at(generation))
	late := net.Error(nil)
	for end := time.Now().Add(soon); errors.As(err, &late) && late.Timeout() && time.Now().Before(end); {
		answer, err = s.n.listener.ask(s.t.Context(), s.n.listener.at(generation))
	}
	if err != nil {
		return err.Error()
	}
	answer, _, _ = strings.Cut(strings.TrimPrefix(answer, answerPrefix), " ")
	return answer
}

func TestProofListener(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"tcp", "unix", "one unix socket"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "include conf.d/*.conf; access_log DIR/access.log; deny all; auth_basic x;", map[string]string{"conf.d/out.conf": string(gen("g0"))})
			s.layoutDir()
			s.write("nginx.conf", strings.Replace(s.read("nginx.conf"), "access_log off; ", "", 1)) // it would hold for all of http {}
			s.start()
			proof := s.proofAt(kind)
			s.n = s.open(Options{Proof: proof})
			for g := range int64(3) {
				out := s.apply(File{Path: s.out, Data: gen(fmt.Sprint("g", g))})
				if !out.Reloaded || !out.Running || out.Workers != 2 || out.Changed != (g == 0 || g > 0) {
					t.Errorf("outcome %+v", out)
				}
				if got := s.asks(s.asked); got != fmt.Sprint(s.asked) {
					t.Errorf("the listener says %q, want %d", got, s.asked)
				}
				if text := s.read("access.log"); text != "" {
					t.Errorf("the access log holds %s", text)
				}
				if text := s.read("error.log"); strings.Contains(text, "[emerg]") || strings.Contains(text, "[alert]") {
					t.Errorf("the error log holds %s", text)
				}
				s.serves(fmt.Sprint("g", g))
				serverstest.Eventually(t, soon, func() error { // Nginx logs a request once it has answered it
					if s.read("access.log") == "" {
						return errors.New("the access log has no line of it yet")
					}
					return nil
				})
				s.write("access.log", "")
				s.clean()
			}
			same := s.undisturbed()
			if out := s.apply(File{Path: s.out, Data: gen("g2")}); out.Reloaded || !out.Running {
				t.Errorf("outcome of what is served already %+v", out)
			}
			same()
			want := string(gen("g2")) + witnessInclude(s.out)
			s.holds("conf.d/out.conf", []byte(want))
			if on := s.n.OnDisk([]File{{Path: filepath.Join(s.dir, "gone"), Remove: true}, {Path: s.out, Data: gen("g2")}}); string(on[1].Data) != want {
				t.Errorf("OnDisk says %q", on[1].Data)
			}
			if err := s.n.Test(t.Context(), []File{{Path: s.out, Data: gen("g3")}}); err != nil {
				t.Errorf("Test: %v", err)
			}
			s.refuses(step.Test, []File{{Path: s.out, Data: []byte("borken;")}}, s.out+":1")
			s.clean()

			// Killed, with its socket left behind: it starts, and the same generation can be proven again.
			if err := errors.Join(s.nginx.Kill(), s.nginx.Restart(t.Context())); err != nil {
				t.Fatal(err)
			}
			s.serves("g2")
			s.write("conf.d/out.conf", string(gen("other")))
			s.asked = 2
			if out := s.apply(File{Path: s.out, Data: gen("g2")}); !out.Reloaded || !out.Running {
				t.Errorf("outcome %+v", out)
			}
			if got := s.asks(3); got != "3" {
				t.Errorf("the listener says %q", got)
			}
		})
	}
}

func (s *site) read(name string) string {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil {
		s.t.Error(err)
	}
	return string(text)
}

// layoutDir puts the site's folder in the place of DIR in its configuration.
func (s *site) layoutDir() {
	s.t.Helper()
	s.write("nginx.conf", strings.ReplaceAll(s.read("nginx.conf"), "DIR", s.dir))
}

// What is at the address already.
func TestProofAddressTaken(t *testing.T) {
	t.Parallel()
	s := running(t)
	port, free := takePort(t)
	defer free()
	s.n = s.open(Options{Proof: fmt.Sprintf("127.0.0.1:%d", port)})
	s.refuses(step.Reload, []File{{Path: s.out, Data: gen("g1")}}, "could not bind()")
	s.holds("conf.d/out.conf", gen("g0"))
	s.serves("g0")
	s.clean()

	s.n = s.open(Options{Proof: s.proofAt("one unix socket")})
	file := s.n.listener.address
	if err := os.WriteFile(file, []byte("an operator's"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.refuses(step.Test, []File{{Path: s.out, Data: gen("g1")}}, file+" is no socket")
	if text, err := os.ReadFile(file); err != nil || string(text) != "an operator's" {
		t.Errorf("the file holds %q, %v", text, err)
	}

	// Ours would be the default server there.
	s.n = s.open(Options{Proof: fmt.Sprintf("127.0.0.1:%d", s.port), ReloadTimeout: minReloadTimeout})
	s.refuses(step.Test, []File{{Path: s.out, Data: gen("g1")}}, fmt.Sprintf("nginx.conf listens at 127.0.0.1:%d", s.port), "choose another address")
	s.holds("conf.d/out.conf", gen("g0"))
	s.serves("g0")
	s.clean()
}

// The first output must be where a server may stand.
func TestProofNeedsHTTP(t *testing.T) {
	s := newSite(t, "include conf.d/*.conf; map $host $m { include values; }", map[string]string{"conf.d/out.conf": string(gen("g0")), "values": "a b;"})
	s.n = s.open(Options{Proof: s.proofAt("tcp")})
	s.refuses(step.Test, []File{{Path: filepath.Join(s.dir, "values"), Data: []byte("a c;")}}, "the first output must be included right in http {}")
	s.clean()
}

// lbd was killed during a reload, then Nginx: what is on disk starts, and the next lbd tidies up.
func TestProofListenerLeftBehind(t *testing.T) {
	t.Parallel()
	s := running(t)
	proof := s.proofAt("unix")
	s.n = s.open(Options{Proof: proof})
	s.apply(File{Path: s.out, Data: gen("g1")})
	outs, err := s.n.outputs([]File{{Path: s.out, Data: gen("g2")}})
	if err != nil {
		t.Fatal(err)
	}
	w, err := s.n.witness(2, outs)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.out.stage(), w.install(), s.nginx.Restart(t.Context())); err != nil { // the block is read
		t.Fatal(err)
	}
	if got := s.asks(2); got != "2" {
		t.Fatalf("the listener says %q", got)
	}
	if err := s.nginx.Stop(); err != nil { // as after a reboot: no socket
		t.Fatal(err)
	}
	if err := s.nginx.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.nginx.Kill(); err != nil { // the socket stays, and with it this configuration would not start
		t.Fatal(err)
	}
	s.n = s.open(Options{Proof: proof})
	if out := s.apply(File{Path: s.out, Data: gen("g2")}); !out.Changed || out.Running {
		t.Errorf("outcome %+v", out)
	}
	s.clean()
	if left, _ := filepath.Glob(strings.ReplaceAll(s.n.listener.address, generationMark, "*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	if err := s.nginx.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.serves("g2")
}
