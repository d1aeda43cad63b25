package load

import (
	"bufio"
	"errors"
	"os"
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
