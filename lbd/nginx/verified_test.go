package nginx

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bazbeans/bazbeans/step"
)

// What a refused reload goes back to. Generation "proven" is served and proven, then something is done, and a change
// follows that Nginx refuses at the reload. want is what is on disk and served in the end.
func TestWhatARefusedReloadGoesBackTo(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		do      func(s *site) error
		want    string
		restart bool // by a new lbd
	}{
		{"nothing", func(*site) error { return nil }, "proven", false},
		{"nothing", func(*site) error { return nil }, "proven", true},
		{"edited by hand, and never loaded", func(s *site) error { return os.WriteFile(s.out, gen("edited"), 0o644) }, "proven", false},
		{"installed by an lbd that was killed before the reload", func(s *site) error { return os.WriteFile(s.out, gen("killed"), 0o644) }, "proven", true},
		{"removed by hand", func(s *site) error { return os.Remove(s.out) }, "proven", false},
		{"removed by hand", func(s *site) error { return os.Remove(s.out) }, "proven", true},
		{"what was kept is torn", func(s *site) error {
			return errors.Join(os.WriteFile(s.out, gen("edited"), 0o644), os.Truncate(s.n.verifiedFile(s.out), 5))
		}, "edited", false},
		{"what was kept is gone", func(s *site) error {
			return errors.Join(os.WriteFile(s.out, gen("edited"), 0o644), os.RemoveAll(filepath.Join(s.dir, "state")))
		}, "edited", true},
		{"what was kept does not pass any more", func(s *site) error {
			s.write("conf.d/theirs.conf", "map $host $theirs { default $mine; }")
			return os.WriteFile(s.out, append(gen("edited"), "map $host $mine { default 1; }\n"...), 0o644)
		}, "edited", false},
	} {
		name := tc.name
		if tc.restart {
			name += ", by a new lbd"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := running(t)
			s.apply(File{Path: s.out, Data: gen("proven")})
			if err := tc.do(s); err != nil {
				t.Fatal(err)
			}
			if tc.restart {
				s.n = s.open(Options{})
			}
			before, err := os.ReadFile(s.out)
			port, free := takePort(t)
			defer free()
			out := s.refuses(step.Reload, []File{{Path: s.out, Data: append(gen("new"), fmt.Sprintf("map $host $mine { default 1; }\nserver { listen 127.0.0.1:%d; }\n", port)...)}}, "could not bind()")
			if out.Changed || out.Running || out.Workers != 2 || out.Foreign != (tc.want != "proven") {
				t.Errorf("outcome %+v", out)
			}
			if tc.want == "proven" {
				s.holds("conf.d/out.conf", gen("proven"))
			} else {
				s.holds("conf.d/out.conf", before)
			}
			s.serves(tc.want)
			s.clean()
			same := s.undisturbed()
			text, _ := os.ReadFile(s.out)
			if out := s.apply(File{Path: s.out, Data: text}); out.Reloaded || !out.Running {
				t.Errorf("what was put back is not proven: %+v (before: %q, %v)", out, before, err)
			}
			same()
		})
	}
}

// Somebody removes the backup while Nginx reloads.
func TestBackupRemoved(t *testing.T) {
	t.Parallel()
	s := running(t)
	s.n = s.open(Options{Reload: []string{"sh", "-c", "rm -v " + s.dir + "/conf.d/.out.conf.lbd-*; exit 1"}})
	s.refuses(step.Reload, []File{{Path: s.out, Data: gen("g1")}, {Path: filepath.Join(s.dir, "conf.d/new.conf"), Data: []byte("#")}}, "removed '", "exit status 1")
	s.holds("conf.d/out.conf", gen("g0"))
	if _, err := os.Lstat(filepath.Join(s.dir, "conf.d/new.conf")); !os.IsNotExist(err) {
		t.Errorf("the new file stayed: %v", err)
	}
	s.clean()
}

// What is gone back to was proven once, and is tested before it is put in place: the configuration around it may have changed.
func TestWhatIsGoneBackToIsTestedFirst(t *testing.T) {
	t.Parallel()
	s := running(t)
	s.apply(File{Path: s.out, Data: gen("proven")})
	real, err := exec.LookPath("nginx")
	if err != nil {
		t.Fatal(err)
	}
	seen, watching := filepath.Join(s.dir, "seen"), filepath.Join(s.dir, "watching-nginx")
	script := fmt.Sprintf("#!/bin/sh\ncase $1 in -t|-T) cat %s >> %s;; esac\nexec %s \"$@\"\n", s.out, seen, real)
	if err := os.WriteFile(watching, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	s.n = s.open(Options{Binary: watching})
	s.write("conf.d/theirs.conf", "map $host $theirs { default $mine; }")
	edited := append(gen("edited"), "map $host $mine { default 1; }\n"...)
	if err := os.WriteFile(s.out, edited, 0o644); err != nil {
		t.Fatal(err)
	}
	port, free := takePort(t)
	defer free()
	s.refuses(step.Reload, []File{{Path: s.out, Data: append(gen("new"), fmt.Sprintf("map $host $mine { default 1; }\nserver { listen 127.0.0.1:%d; }\n", port)...)}}, "could not bind()")
	text, err := os.ReadFile(seen)
	if err != nil || !strings.Contains(string(text), "edited") || strings.Contains(string(text), "proven") {
		t.Errorf("while nginx tested the live file held (%v)\n%s", err, text)
	}
	s.holds("conf.d/out.conf", edited)
	s.clean()
}
