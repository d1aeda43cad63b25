package nginx

import (
	"errors"
	"sync"
	"syscall"

	"github.com/bazbeans/bazbeans/step"
)

// unkept is what in StateDir can't be written, and why, so that it is logged once as long as that lasts.
type unkept struct {
	mu   sync.Mutex
	said map[string]string
}

// isNew notes what came of writing a file, and reports whether that is a failure with another cause than the last time.
func (u *unkept) isNew(name string, err error) bool {
	cause := ""
	if no := syscall.Errno(0); errors.As(err, &no) { // at whichever call it shows
		cause = no.Error()
	} else if err != nil {
		cause = err.Error()
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.said == nil {
		u.said = map[string]string{}
	}
	was := u.said[name]
	u.said[name] = cause
	return cause != "" && cause != was
}

// kept notes what came of writing a file of StateDir, and logs msg when that is new.
func (n *Nginx) kept(name, msg string, err error, attrs ...any) {
	if n.unkept.isNew(name, err) {
		n.log.Warn(msg, append([]any{"step", step.Verify, "err", err}, attrs...)...)
	}
}
