package ctl

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/bazbeans/bazbeans/pool"
)

// deaf stands before Redis and passes everything on, until a command of a type was sent: from then on no answer comes
// back.
func (s *site) deaf(kind string) (url string) {
	s.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	var silent atomic.Bool
	var wg sync.WaitGroup
	answers := func(c, up net.Conn) {
		defer c.Close()
		buf := make([]byte, 64<<10)
		for {
			n, err := up.Read(buf)
			if n > 0 && !silent.Load() {
				_, _ = c.Write(buf[:n]) // who is gone reads nothing
			}
			if err != nil {
				return
			}
		}
	}
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			up, err := net.Dial("tcp", s.srv.Addr())
			if err != nil {
				c.Close()
				return
			}
			wg.Go(func() { answers(c, up) })
			wg.Go(func() {
				defer up.Close()
				_, _ = io.Copy(listening{up, kind, &silent}, c) // its end is the caller's
			})
		}
	})
	s.t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return "redis://" + l.Addr().String() + "/0"
}

// listening sets heard when a command of a type passes.
type listening struct {
	net.Conn
	kind  string
	heard *atomic.Bool
}

func (l listening) Write(b []byte) (int, error) {
	if bytes.Contains(b, fmt.Appendf(nil, `"type":%q`, l.kind)) {
		l.heard.Store(true)
	}
	return l.Conn.Write(b)
}

// When the answer of Redis is lost nobody knows whether the command was sent, and nobody says that it was not.
func TestLostAnswer(t *testing.T) {
	s := newSite(t)
	s.node("web1", true)
	if err := s.p.Send(t.Context(), "web1", pool.NewCommand("restart", "x", 0, nil)); err != nil { // the script is known
		t.Fatal(err)
	}
	was, queue := s.url, ""
	var r ran
	for try := 0; try < 3 && !strings.Contains(queue, `"exec"`); try++ { // a machine that stands still for so long sends nothing
		s.url = s.deaf("exec")
		r = s.run("--timeout", "2s", "exec", "web1", "--", "ls")
		s.url = was
		queue = strings.Join(s.rdb.LRange(t.Context(), "bazbeans:node:web1:commands", 1, -1).Val(), "")
	}
	if r.code != 1 || !strings.Contains(r.stderr, "web1: exec may have been sent (command ") || !strings.Contains(queue, `"exec"`) {
		t.Errorf("%+v, in the queue: %s", r, queue)
	}
}

// What ran already, and nobody knows with what end, has an unknown end, and was not "not begun".
func TestUnknownEnd(t *testing.T) {
	s := newSite(t)
	s.node("web1", true)
	s.balancer("lb1", nil)
	const why = "it had ended before, and is not run again; redis lost what came of it"
	s.agent("web1", func(pool.Command) *pool.Result { return &pool.Result{State: pool.Unknown, Error: why} })
	s.want(1, "", "bbctl: web1: restart has an unknown end: "+why+"; look at the node before you try again\n", "restart", "web1")
	id := s.rdb.LIndex(t.Context(), "bazbeans:node:web1:recent", 0).Val()
	if r := s.run("result", id); r.code != 1 || !strings.Contains(r.stdout, "result       unknown\nwhy          "+why+"\n") || r.stderr != "" {
		t.Errorf("%+v", r)
	}
	r := s.update("--min-active", "0")
	if r.code != 1 || !strings.Contains(r.stderr, "web1: failed while updating: update has an unknown end: "+why) || !strings.Contains(r.stderr, "it stays frozen, its update may be done in part") || strings.Contains(r.stderr, "not begun") {
		t.Errorf("%+v", r)
	}
}
