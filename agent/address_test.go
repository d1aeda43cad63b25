package agent

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/cli"
)

// blackHole returns an address that takes no connection and refuses none, as that of a host that is gone.
func blackHole(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	own, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: own.(*syscall.SockaddrInet4).Port}).String()
	for range 100 { // until its queue is full, nobody accepts
		conn, err := net.DialTimeout("tcp", addr, 200*time.Millisecond)
		if err != nil {
			return addr
		}
		t.Cleanup(func() { conn.Close() })
	}
	t.Fatalf("%s goes on taking connections", addr)
	return ""
}

// The host of the first Sentinel is gone, as when it was the master's, too: the next one tells the address, in the time
// that a heartbeat may take.
func TestAddressThoughAHostIsGone(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	gone := blackHole(t)
	for range 3 { // a machine that stands still has no time left for the second one: not three times in a row
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		_, err = sourceTo(ctx, gone+","+l.Addr().String())
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
	}
	var told *cli.Error // that its source address is of no use here
	if !errors.As(err, &told) || !strings.Contains(err.Error(), l.Addr().String()+" is a loopback one") {
		t.Errorf("the second address was not asked: %v", err)
	}
}
