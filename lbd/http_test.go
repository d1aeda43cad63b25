package lbd

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// exhausted is a listener of a process without file descriptors.
type exhausted struct{ closed chan struct{} }

func (e exhausted) Accept() (net.Conn, error) {
	select {
	case <-e.closed:
		return nil, net.ErrClosed
	default:
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	}
}

func (e exhausted) Close() error   { close(e.closed); return nil }
func (e exhausted) Addr() net.Addr { return &net.TCPAddr{} }

// What the server of status.listen can't do is said in the log's form, and not each second.
func TestAServerInTroubleIsLoggedSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		l := &LB{log: slog.New(slog.NewJSONHandler(&out, nil))}
		l.metrics = newMetrics(func() Status { return Status{} })
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- l.serve(ctx, exhausted{make(chan struct{})}) }()
		time.Sleep(150 * time.Second)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		lines := bytes.Split(bytes.TrimSpace(out.Bytes()), []byte("\n"))
		for _, line := range lines {
			var said struct{ Level, Error string }
			const want = "http: Accept error: accept tcp: accept4: too many open files"
			if err := json.Unmarshal(line, &said); err != nil || said.Level != "ERROR" || said.Error != want {
				t.Errorf("%v: %s", err, line)
			}
		}
		if len(lines) != 3 {
			t.Errorf("%d lines in 150 s", len(lines))
		}
	})
}

func TestSeldomLeavesOutNothingNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		s := &seldom{log: slog.New(slog.NewTextHandler(&out, nil)), every: time.Minute}
		for _, step := range []struct {
			line string
			want int // lines in all
		}{{"a", 1}, {"b", 2}, {"a", 2}, {"b", 2}} {
			if n, err := s.Write([]byte(step.line + "\n")); n != 2 || err != nil {
				t.Error(n, err)
			}
			if got := bytes.Count(out.Bytes(), []byte("\n")); got != step.want {
				t.Errorf("%s: %d lines, want %d", step.line, got, step.want)
			}
			time.Sleep(10 * time.Second)
		}
		time.Sleep(time.Minute)
		if s.Write([]byte("c\n")); len(s.said) != 1 {
			t.Errorf("remembers %v", s.said)
		}
	})
}
