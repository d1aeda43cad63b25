package load

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"
	"time"
)

// conn is a keep-alive connection, used by one goroutine.
type conn struct {
	net.Conn
	raw        syscall.RawConn
	r          *bufio.Reader
	nodeHeader []byte
	used       bool // it has carried an answer
}

func dial(addr, nodeHeader string, deadline time.Time) (*conn, error) {
	c, err := (&net.Dialer{Deadline: deadline}).Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		c.Close()
		return nil, err
	}
	return &conn{Conn: c, raw: raw, r: bufio.NewReader(c), nodeHeader: []byte(nodeHeader)}, nil
}

// closed looks, without waiting, whether the other side has closed the idle
// connection, or sent what nobody asked for, which makes it as useless.
func (c *conn) closed() bool {
	if c.r.Buffered() > 0 {
		return true
	}
	var err error
	var b [1]byte
	// Control and not Read, which heeds the deadline of the last request.
	if c.raw.Control(func(fd uintptr) {
		_, _, err = syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	}) != nil {
		return true
	}
	return !errors.Is(err, syscall.EAGAIN)
}

// exchange sends a request and reads its answer. Its error is an *[Error].
func (c *conn) exchange(request []byte, deadline time.Time) (answer, error) {
	c.SetDeadline(deadline)
	if n, err := c.Write(request); err != nil {
		if n == 0 && !isTimeout(err) {
			err = fmt.Errorf("%w: %w", errNotWritten, err)
		}
		return answer{}, failure(ReasonClosed, err)
	}
	if _, err := c.r.Peek(1); err != nil {
		return answer{}, failure(ReasonClosed, err)
	}
	a, err := c.readAnswer()
	if err != nil {
		return a, failure(ReasonCut, err)
	}
	c.used = true
	if a.status/100 != 2 {
		return a, &Error{Reason: Reason("status " + strconv.Itoa(a.status))}
	}
	return a, nil
}
