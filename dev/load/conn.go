package load

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"
)

// Reason says in one word why a request failed; it is the key of
// [Counts.ByReason]. A status that is not 2xx is "status 502" and so on.
type Reason string

const (
	ReasonConnect  Reason = "connect"   // no connection
	ReasonTimeout  Reason = "timeout"   // the answer was not complete in time
	ReasonClosed   Reason = "closed"    // connection closed before a byte of the answer
	ReasonCut      Reason = "cut short" // connection closed within the answer
	ReasonProtocol Reason = "protocol"  // the answer is not HTTP/1.x
)

// Error is why a request failed.
type Error struct {
	Reason Reason
	Err    error // nil for a status
}

func (e *Error) Error() string {
	if e.Err == nil {
		return string(e.Reason)
	}
	return string(e.Reason) + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// errNotWritten marks a request of which no byte left this host.
var errNotWritten = errors.New("nothing written")

var (
	errNotHTTP = errors.New("not an HTTP/1.x answer")
	errLength  = errors.New("bad length")
)

// answer is a response whose body was read to its end.
type answer struct {
	status int
	node   string
	last   bool // the connection carries no further request
}

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
	if c.raw.Read(func(fd uintptr) bool {
		_, _, err = syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		return true
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

func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// failure names what the error itself says, else the reason given: how far the
// exchange had come.
func failure(reason Reason, err error) *Error {
	switch {
	case isTimeout(err):
		reason = ReasonTimeout
	case errors.Is(err, errNotHTTP), errors.Is(err, errLength), errors.Is(err, bufio.ErrBufferFull):
		reason = ReasonProtocol
	}
	return &Error{Reason: reason, Err: err}
}

// readAnswer reads one answer (RFC 9112), after any interim ones (1xx).
func (c *conn) readAnswer() (answer, error) {
	for {
		a, length, err := c.readHead()
		if err != nil {
			return a, err
		}
		if a.status/100 != 1 {
			return a, c.skipBody(&a, length)
		}
	}
}

// Lengths of a body that is not counted in bytes.
const (
	untilClose = -1
	chunked    = -2
)

// readHead reads the status line and the header fields; length is that of the
// body.
func (c *conn) readHead() (a answer, length int, err error) {
	line, err := c.readLine()
	if err != nil {
		return a, 0, err
	}
	// "HTTP/1.1 200 OK"
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.")) || line[8] != ' ' {
		return a, 0, fmt.Errorf("%w: %.40q", errNotHTTP, line)
	}
	a.last = line[7] == '0'
	if a.status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return a, 0, fmt.Errorf("%w: %.40q", errNotHTTP, line)
	}
	length = untilClose
	for {
		line, err := c.readLine()
		if err != nil {
			return a, 0, err
		}
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length == chunked { // which wins
				continue
			}
			if length, err = strconv.Atoi(string(value)); err != nil || length < 0 {
				return a, 0, fmt.Errorf("%w: %.40q", errLength, line)
			}
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			length = chunked
		case bytes.EqualFold(name, []byte("Connection")):
			a.last = bytes.EqualFold(value, []byte("close"))
		case bytes.EqualFold(name, c.nodeHeader):
			a.node = string(value)
		}
	}
	if a.status == 204 || a.status == 304 {
		length = 0
	}
	return a, length, nil
}

func (c *conn) skipBody(a *answer, length int) error {
	switch length {
	case untilClose:
		a.last = true
		_, err := io.Copy(io.Discard, c.r)
		return err
	case chunked:
		return c.skipChunks()
	default:
		_, err := c.r.Discard(length)
		return err
	}
}

func (c *conn) skipChunks() error {
	for {
		line, err := c.readLine()
		if err != nil {
			return err
		}
		size, _, _ := bytes.Cut(line, []byte(";"))
		n, err := strconv.ParseUint(string(bytes.TrimSpace(size)), 16, 31)
		if err != nil {
			return fmt.Errorf("%w of a chunk: %.40q", errLength, line)
		}
		if n == 0 {
			break
		}
		if _, err := c.r.Discard(int(n) + len("\r\n")); err != nil {
			return err
		}
	}
	for { // trailer fields
		if line, err := c.readLine(); err != nil || len(line) == 0 {
			return err
		}
	}
}

// readLine returns the next line without its end; it is valid until the next
// read. A line that does not fit the buffer (4 KiB) is bufio.ErrBufferFull.
func (c *conn) readLine() ([]byte, error) {
	line, err := c.r.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(line[:len(line)-1], []byte("\r")), nil
}
