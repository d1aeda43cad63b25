package lbd

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// An upstream taken out of the config leaves a file behind that Nginx may still include: its nodes are not said to be
// drained before the file is gone.
func TestFormerUpstreams(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakePool, e *fakeEngine, l *LB) {
		f.set("web1", "web2")
		time.Sleep(2 * time.Second)
		path := l.cfg.StateDir + "/former.conf"
		text := []byte("upstream former {\n    server 10.0.0.50:8000; # web2\n}\n")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // the loop rests
		l.last.Upstreams = append(l.last.Upstreams, savedUpstream{Name: "former", Output: path, Text: text, Servers: servers("web2")})
		l.findOrphans()
		f.set("-web2")
		time.Sleep(3 * time.Second)
		synctest.Wait()
		next := &LB{last: l.last, upstreams: l.upstreams}
		next.findOrphans()
		a := f.lastAck() // after what was read of l: the loop looks at f before it writes
		if a.Rev != f.rev || !slices.Equal(a.Held, []string{"web2"}) || !strings.Contains(a.Error, "upstream former is not in the config any more") {
			t.Errorf("ack %+v", a)
		}
		// The next lbd knows of it, too.
		if len(next.orphans) != 1 {
			t.Errorf("after a restart: %v", next.orphans)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		e.set(func() { e.refuse = func(string) error { return errors.New("refused") } })
		time.Sleep(15 * time.Second)
		if a := f.lastAck(); !slices.Equal(a.Held, []string{"web2"}) || a.Error != "refused" {
			t.Errorf("ack once the file is gone, and Nginx not reloaded: %+v", a)
		}
		e.set(func() { e.refuse = func(string) error { return nil }; e.anew = 0 })
		time.Sleep(time.Minute)
		if a := f.lastAck(); len(a.Held) != 0 || a.Error != "" {
			t.Errorf("ack once Nginx was reloaded without it: %+v", a)
		}
		e.set(func() {
			if e.anew != 1 {
				t.Errorf("%d reloads for it", e.anew)
			}
		})
		if l.findOrphans(); len(l.orphans) != 0 {
			t.Errorf("a restart would begin with %v", l.orphans)
		}
	})
}

// An output that another upstream writes now is none of that.
func TestTakenOverOutputIsNoFormerUpstream(t *testing.T) {
	u := defaultUpstream()
	l := &LB{upstreams: []*upstream{{UpstreamConfig: u}}, last: &saved{Upstreams: []savedUpstream{{Name: "before", Output: u.Output}}}}
	if l.findOrphans(); len(l.orphans) != 0 {
		t.Errorf("%v", l.orphans)
	}
}
