package dev

import (
	"io"
	"net"
	"testing"

	"github.com/bazbeans/bazbeans/dev/servers"
	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
)

// echo is a server that sends back what it gets.
func echo(t *testing.T) (addr string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			io.Copy(c, c)
			c.Close()
		}
	}()
	t.Cleanup(func() { ln.Close(); <-ended })
	return ln.Addr().String()
}

func TestRelayPassesOnUntilItIsCut(t *testing.T) {
	r, err := listenRelay(echo(t))
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", r.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "hello")
	got := make([]byte, 5)
	if _, err := io.ReadFull(c, got); err != nil || string(got) != "hello" {
		t.Fatalf("got %q back, %v", got, err)
	}
	r.cut()
	if n, err := c.Read(got); err == nil {
		t.Errorf("a connection through a relay that was cut gave %q", got[:n])
	}
	if c, err := net.Dial("tcp", r.addr()); err == nil {
		c.Close()
		t.Error("a relay that was cut takes connections")
	}
}

func TestRelayEndsWithEitherSide(t *testing.T) {
	r, err := listenRelay(servers.Loopback(serverstest.Ports(t, 1)[0])) // nobody is there
	if err != nil {
		t.Fatal(err)
	}
	defer r.cut()
	c, err := net.Dial("tcp", r.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("there is nobody at the other end, and the connection stays open")
	}
}
