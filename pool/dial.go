package pool

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// dialer connects, with TLS when config is not nil, and bounds what is read of an answer. go-redis's own would do TLS
// without the caller's context.
func dialer(config *tls.Config) func(ctx context.Context, network, addr string) (net.Conn, error) {
	plain := &net.Dialer{Timeout: dialTimeout, KeepAlive: keepAlive}
	if config == nil {
		return func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := plain.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return &checkedConn{boundedConn{Conn: conn}, conn.(syscall.Conn)}, nil
		}
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, dialTimeout) // the dialer's bounds only the TCP part
		defer cancel()
		conn, err := plain.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		ours := config
		if config.ServerName == "" {
			ours = config.Clone()
			ours.ServerName, _, _ = net.SplitHostPort(addr)
		}
		secure := tls.Client(conn, ours)
		if err := secure.HandshakeContext(ctx); err != nil {
			conn.Close()
			return nil, &handshakeError{err}
		}
		return &boundedConn{Conn: secure}, nil
	}
}

type handshakeError struct{ err error }

func (e *handshakeError) Error() string { return "TLS handshake: " + e.err.Error() }
func (e *handshakeError) Unwrap() error { return e.err }

// keepAlive is how often the kernel asks the other side of an idle connection whether it lives.
const keepAlive = 15 * time.Second

// ErrTooLarge says that an answer of Redis was not read to its end. Whoever may write to Redis can put 512 MB into one
// field; that is no reason to run out of memory here.
var ErrTooLarge = errors.New("the answer is too large to be read: somebody has put something very large into Redis")

// answerMost bounds the answer to one command or one pipeline, in bytes; one that has not come to its end in time is too
// large from answerLate on. A look at 10,000 nodes is about 6 MB.
const (
	answerMost = 64 << 20
	answerLate = 8 << 20
)

// boundedConn is a connection that fails when one answer is too large. go-redis sets the deadline anew before it reads
// an answer, a pipeline's answers, or a message: that is where the count begins.
type boundedConn struct {
	net.Conn
	read int
}

func (c *boundedConn) SetDeadline(t time.Time) error {
	c.read = 0
	return c.Conn.SetDeadline(t)
}

func (c *boundedConn) SetReadDeadline(t time.Time) error {
	c.read = 0
	return c.Conn.SetReadDeadline(t)
}

func (c *boundedConn) Read(b []byte) (int, error) {
	left := answerMost - c.read
	if left <= 0 {
		return 0, ErrTooLarge
	}
	n, err := c.Conn.Read(b[:min(len(b), left)])
	c.read += n
	if c.read > answerLate && errors.Is(err, os.ErrDeadlineExceeded) {
		return n, ErrTooLarge
	}
	return n, err
}

// checkedConn shows go-redis its socket, so that a pooled connection which Redis has closed is found before it is used.
// With TLS there is no telling: what waits on that socket may be a record of TLS itself.
type checkedConn struct {
	boundedConn
	syscall.Conn
}

// sentinelError is what asking the Sentinels came to.
type sentinelError struct {
	master string
	why    string
}

func (e *sentinelError) Error() string { return fmt.Sprintf("master %s: %s", e.master, e.why) }

// dialErrors hides redis.Nil in the error of a connection: Sentinels answer it for a master they do not know, and to
// the caller of a command it means "no such key".
type dialErrors struct{ sentinels string }

func (h dialErrors) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := next(ctx, network, addr)
		if errors.Is(err, redis.Nil) {
			return nil, &sentinelError{h.sentinels, "unknown to them"}
		}
		return conn, err
	}
}

func (dialErrors) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (dialErrors) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}
