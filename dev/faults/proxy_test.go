package main

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/dev/servers"
	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
)

// echo answers each line with its name and the line.
func echo(t *testing.T, name string) (addr string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for lines := bufio.NewScanner(c); lines.Scan(); {
					io.WriteString(c, name+" "+lines.Text()+"\n")
				}
			}()
		}
	}()
	return l.Addr().String()
}

func startProxy(t *testing.T, target string) *Proxy {
	p, err := NewProxy(target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// client is a connection through a proxy.
type client struct {
	t *testing.T
	net.Conn
}

func dial(t *testing.T, p *Proxy) client {
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return client{t, c}
}

// ask sends a line and returns the answer.
func (c client) ask(within time.Duration, line string) (string, error) {
	c.t.Helper()
	if err := c.SetDeadline(time.Now().Add(within)); err != nil {
		c.t.Fatal(err)
	}
	if _, err := io.WriteString(c, line+"\n"); err != nil {
		return "", err
	}
	text, err := bufio.NewReader(c).ReadString('\n')
	return strings.TrimSuffix(text, "\n"), err
}

// hears wants the answer of a server.
func (c client) hears(server string) {
	c.t.Helper()
	if got, err := c.ask(time.Minute, "x"); err != nil || got != server+" x" {
		c.t.Errorf("%q, %v; want an answer of %s", got, err, server)
	}
}

// isReset wants a connection that was reset, or one that was refused.
func isReset(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("%v, want a reset", err)
	}
}

func TestProxyPassesOn(t *testing.T) {
	p := startProxy(t, echo(t, "a"))
	one, two := dial(t, p), dial(t, p)
	one.hears("a")
	two.hears("a")
	one.hears("a")
}

func TestProxyDelaysAnswers(t *testing.T) {
	const late = 300 * time.Millisecond
	p := startProxy(t, echo(t, "a"))
	c := dial(t, p)
	c.hears("a")
	p.Delay(late)
	asked := time.Now()
	c.hears("a")
	if took := time.Since(asked); took < late {
		t.Errorf("an answer after %v, want none before %v", took, late)
	}
	if err := p.Heal(); err != nil {
		t.Fatal(err)
	}
	c.hears("a")
}

func TestProxyLimitsBytes(t *testing.T) {
	p := startProxy(t, echo(t, "a"))
	c := dial(t, p)
	p.Limit(1000)
	asked := time.Now()
	if _, err := c.ask(time.Minute, strings.Repeat("x", 200)); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(asked); took < 400*time.Millisecond {
		t.Errorf("400 bytes took %v, want at least 0.4 s", took)
	}
}

func TestProxyCuts(t *testing.T) {
	p := startProxy(t, echo(t, "a"))
	c := dial(t, p)
	c.hears("a")
	p.Cut()
	_, err := c.ask(time.Minute, "x")
	isReset(t, err)
	dial(t, p).hears("a")
}

func TestProxySwallows(t *testing.T) {
	p := startProxy(t, echo(t, "a"))
	c := dial(t, p)
	c.hears("a")
	p.Swallow()
	if got, err := c.ask(200*time.Millisecond, "x"); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%q, %v; want silence", got, err)
	}
	dial(t, p).hears("a")
	if err := p.Heal(); err != nil {
		t.Fatal(err)
	}
	if got, err := c.ask(200*time.Millisecond, "x"); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after Heal %q, %v; want silence", got, err)
	}
}

func TestProxyRefuses(t *testing.T) {
	p := startProxy(t, echo(t, "a"))
	c := dial(t, p)
	c.hears("a")
	for range 2 { // the second time changes nothing
		if err := p.Refuse(); err != nil {
			t.Fatal(err)
		}
	}
	_, err := c.ask(time.Minute, "x")
	isReset(t, err)
	if late, err := net.Dial("tcp", p.Addr()); err == nil {
		late.Close()
		t.Error("it listens")
	} else {
		isReset(t, err)
	}
	for range 2 {
		if err := p.Heal(); err != nil {
			t.Fatal(err)
		}
	}
	dial(t, p).hears("a")
}

func TestProxyGoesToAnotherTarget(t *testing.T) {
	p := startProxy(t, echo(t, "a"))
	c := dial(t, p)
	c.hears("a")
	p.Target(echo(t, "b"))
	_, err := c.ask(time.Minute, "x")
	isReset(t, err)
	dial(t, p).hears("b")
}

// TestProxyWithoutServer: a client must see a reset, and not an orderly end.
func TestProxyWithoutServer(t *testing.T) {
	nobody := servers.Loopback(serverstest.Ports(t, 1)[0])
	c, err := net.Dial("tcp", startProxy(t, nobody).Addr())
	if err == nil { // else the reset was even quicker
		defer c.Close()
		_, err = client{t, c}.ask(time.Minute, "x")
	}
	isReset(t, err)
}

func TestProxyCloses(t *testing.T) {
	p := startProxy(t, echo(t, "a"))
	c := dial(t, p)
	c.hears("a")
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := c.ask(time.Minute, "x")
	isReset(t, err)
	if err := p.Heal(); err != nil {
		t.Fatal(err)
	}
	if late, err := net.Dial("tcp", p.Addr()); err == nil {
		late.Close()
		t.Error("a closed proxy was healed")
	}
}
