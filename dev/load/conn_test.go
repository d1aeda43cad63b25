package load

import (
	"errors"
	"net"
	"testing"
	"time"
)

// A reset that arrives between the look at the idle connection and the write:
// nothing has left this host, so even a POST is sent on a new connection.
func TestWriteOnAResetConnectionHasWrittenNothing(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	deadline := time.Now().Add(time.Minute)
	c, err := dial(l.Addr().String(), "X-Node", deadline)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(-time.Second)) // as a request leaves it that is long over
	if c.closed() {
		t.Error("an open connection is called closed")
	}
	server.(*net.TCPConn).SetLinger(0) // so that Close resets
	server.Close()
	if _, err := c.exchange([]byte("POST"), deadline); !errors.Is(err, errNotWritten) {
		t.Errorf("exchange on a reset connection: %v, want errNotWritten", err)
	}
	if !c.closed() {
		t.Error("a reset connection is called open")
	}
}
