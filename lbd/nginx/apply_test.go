package nginx

import (
	"testing"

	"github.com/bazbeans/bazbeans/step"
)

func TestApply(t *testing.T) {
	s := running(t)
	out := s.apply(File{Path: s.out, Data: gen("g1")})
	if !out.Changed || !out.Reloaded || !out.Running || out.Workers != 2 {
		t.Errorf("outcome %+v", out)
	}
	for _, name := range []step.Name{step.Test, step.Install, step.Reload, step.Verify} {
		if out.Took[name] <= 0 {
			t.Errorf("no time for step %s: %v", name, out.Took)
		}
	}
	s.serves("g1")
	s.clean()

	same := s.undisturbed()
	out = s.apply(File{Path: s.out, Data: gen("g1")})
	if out.Changed || out.Reloaded || !out.Running || out.Workers != 2 {
		t.Errorf("outcome of the second Apply %+v", out)
	}
	same()
}
