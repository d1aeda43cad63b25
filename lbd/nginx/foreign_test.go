package nginx

import (
	"errors"
	"os"
	"testing"

	"github.com/bazbeans/bazbeans/step"
)

// A refused change leaves Nginx with what was proven, unless somebody else has put something in its place.
func TestForeignFiles(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		do      func(s *site) error
		at      step.Name
		foreign bool
	}{
		{"nothing", func(*site) error { return nil }, step.Test, false},
		{"edited", func(s *site) error { return os.WriteFile(s.out, gen("edited"), 0o644) }, step.Test, true},
		{"removed", func(s *site) error { return os.Remove(s.out) }, step.Test, true},
		{"written anew, as it was", func(s *site) error { return os.WriteFile(s.out, gen("proven"), 0o644) }, step.Test, false},
		{"another lbd", func(s *site) error { s.n = s.open(Options{}); return nil }, step.Test, false},
		{"a folder", func(s *site) error { return errors.Join(os.Remove(s.out), os.Mkdir(s.out, 0o755)) }, step.Install, true},
		{"installed while nginx was down, and read by the next", func(s *site) error {
			if err := s.nginx.Stop(); err != nil {
				return err
			}
			if out := s.apply(File{Path: s.out, Data: gen("later")}); out.Running {
				return errors.New("nginx runs")
			}
			s.start()
			return nil
		}, step.Test, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := running(t)
			s.apply(File{Path: s.out, Data: gen("proven")})
			if err := tc.do(s); err != nil {
				t.Fatal(err)
			}
			out := s.refuses(tc.at, []File{{Path: s.out, Data: []byte("no_such_directive;\n")}})
			if out.Foreign != tc.foreign {
				t.Errorf("outcome %+v", out)
			}
		})
	}
}
