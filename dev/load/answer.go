package load

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
)

// answer is a response whose body was read to its end.
type answer struct {
	status int
	node   string
	last   bool // the connection carries no further request
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
