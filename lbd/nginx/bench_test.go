package nginx

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"
)

// The pair to compare: what Apply costs beside the least that anybody must do. Both end when the last old worker
// has stopped taking connections.

func BenchmarkApply(b *testing.B) {
	s := running(b)
	for i := 0; b.Loop(); i++ {
		s.apply(File{Path: s.out, Data: gen(fmt.Sprint("g", i))})
	}
}

func BenchmarkBareReload(b *testing.B) {
	s := running(b)
	m, _, _ := stat(s.nginx.Master())
	for i := 0; b.Loop(); i++ {
		old, _ := m.crew()
		if err := os.WriteFile(s.out, gen(fmt.Sprint("g", i)), 0o644); err != nil {
			b.Fatal(err)
		}
		if out, err := exec.Command("nginx", "-t", "-p", s.dir, "-c", s.nginx.Conf).CombinedOutput(); err != nil {
			b.Fatalf("%v\n%s", err, out)
		}
		if err := m.hangup(); err != nil {
			b.Fatal(err)
		}
		for len(old) > 0 {
			if old[0].working() {
				time.Sleep(200 * time.Microsecond)
				continue
			}
			old = old[1:]
		}
	}
}

// BenchmarkApplySame is what an Apply costs when there is nothing to do.
func BenchmarkApplySame(b *testing.B) {
	s := running(b)
	s.apply(File{Path: s.out, Data: gen("same")})
	for b.Loop() {
		s.apply(File{Path: s.out, Data: gen("same")})
	}
}
