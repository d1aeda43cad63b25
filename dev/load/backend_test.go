package load_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/dev/load"
	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
)

// line is a connection to a backend that sends whole requests.
type line struct {
	net.Conn
	in *bufio.Reader
}

func dialBackend(t *testing.T, b *load.Backend) line {
	t.Helper()
	c, err := net.Dial("tcp", b.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return line{c, bufio.NewReader(c)}
}

// answer reads one answer: its status and node and body in one string.
func (l line) answer(t *testing.T) string {
	t.Helper()
	r, err := http.ReadResponse(l.in, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d %s %s", r.StatusCode, r.Header.Get("X-Node"), strings.TrimSpace(string(body)))
}

func TestBackendAnswersOnOneConnection(t *testing.T) {
	b := startBackend(t, "n7")
	c := dialBackend(t, b)
	ask := func(request, want string) {
		t.Helper()
		io.WriteString(c, request)
		if got := c.answer(t); got != want {
			t.Errorf("%.20q: %q, want %q", request, got, want)
		}
	}
	const host = " HTTP/1.1\r\nHost: x\r\n"
	ask("GET /"+host+"\r\n", "200 n7 n7")
	ask("POST /any/path"+host+"Content-Length: 4\r\n\r\nbody", "200 n7 n7")
	ask("GET /health"+host+"\r\n", "200 n7 ok")
	b.SetHealthy(false)
	ask("GET /health"+host+"\r\n", "503 n7 not well")
	ask("GET /"+host+"\r\n", "200 n7 n7")
	b.SetHealthy(true)
	ask("GET /health"+host+"\r\n", "200 n7 ok")
	if b.Served() != 3 || b.ID() != "n7" {
		t.Errorf("%s served %d, want 3: /health does not count", b.ID(), b.Served())
	}
}

func TestBackendRemembersStarts(t *testing.T) {
	b := startBackend(t, "n1")
	if _, any := b.LastStart(time.Time{}); any || len(b.Starts(time.Time{})) != 0 {
		t.Error("a start before any request")
	}
	c := dialBackend(t, b)
	var between []time.Time
	for range 3 {
		between = append(between, time.Now())
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		c.answer(t)
	}
	for i, after := range between {
		starts := b.Starts(after)
		if len(starts) != 3-i || !starts[0].After(after) {
			t.Errorf("starts after request %d was sent: %v", i, starts)
		}
		if last, any := b.LastStart(after); !any || last != starts[len(starts)-1] || last.Before(between[2]) {
			t.Errorf("last start %v %v, want %v", last, any, starts[len(starts)-1])
		}
	}
	if _, any := b.LastStart(time.Now()); any {
		t.Error("a start after the last request")
	}
}

func TestBackendCloseAnswersWhatIsUnderWay(t *testing.T) {
	b := startBackend(t, "n1")
	idle, busy := dialBackend(t, b), dialBackend(t, b)
	io.WriteString(idle, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	idle.answer(t)
	io.WriteString(busy, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbo")
	serverstest.Eventually(t, time.Minute, func() error {
		if n := b.Served(); n != 2 {
			return fmt.Errorf("%d requests have started, want 2", n)
		}
		return nil
	})
	closed := make(chan error)
	go func() { closed <- b.Close() }()
	if _, err := idle.in.ReadByte(); err != io.EOF {
		t.Errorf("idle connection: %v, want its end", err)
	}
	io.WriteString(busy, "dy")
	if got := busy.answer(t); got != "200 n1 n1" {
		t.Errorf("request under way: %q", got)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", b.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("after Close: %v, want connection refused", err)
	}
}

func TestBackendKillResetsConnections(t *testing.T) {
	b := startBackend(t, "n1")
	c := dialBackend(t, b)
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	c.answer(t)
	b.Kill()
	if _, err := c.in.ReadByte(); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("open connection: %v, want a reset", err)
	}
	if _, err := net.Dial("tcp", b.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("after Kill: %v, want connection refused", err)
	}
	again, err := load.Listen(b.Addr(), "n1")
	if err != nil {
		t.Fatalf("listen on the same address: %v", err)
	}
	again.Kill()
	again.Kill() // a second time does nothing
}
