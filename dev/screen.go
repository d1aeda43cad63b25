package dev

import (
	"errors"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/bazbeans/bazbeans/cli"
)

// screen is the terminal while the live picture has it: its second buffer, so that what stood there comes back, and,
// when the input is a terminal, too, keys without Enter. Ctrl-C goes on being a signal.
type screen struct {
	out   *os.File
	in    *os.File // nil: no keys
	saved *unix.Termios
}

// openScreen takes the terminal; nil when the output is none, or one that can't move its cursor.
func openScreen(stdin io.Reader, stdout io.Writer) *screen {
	if !cli.IsTerminal(stdout) || os.Getenv("TERM") == "dumb" {
		return nil
	}
	s := &screen{out: stdout.(*os.File)}
	if in, ok := stdin.(*os.File); ok && term.IsTerminal(int(in.Fd())) {
		s.in = in
		s.readKeys()
	}
	s.out.WriteString("\x1b[?1049h\x1b[?25l\x1b[?7l") // second buffer, no cursor, no line wrap
	return s
}

// readKeys has the terminal give each key at once, without showing it. Ctrl-Z does nothing: a site that stands still
// is a dead one.
func (s *screen) readKeys() {
	now, err := unix.IoctlGetTermios(int(s.in.Fd()), unix.TCGETS)
	if err != nil {
		s.in = nil
		return
	}
	s.saved = now
	keys := *now
	keys.Lflag &^= unix.ICANON | unix.ECHO
	keys.Cc[unix.VMIN], keys.Cc[unix.VTIME] = 1, 0
	keys.Cc[unix.VSUSP] = 0
	if unix.IoctlSetTermios(int(s.in.Fd()), unix.TCSETS, &keys) != nil {
		s.in, s.saved = nil, nil
	}
}

// key waits for a key, but not for long; 0 is none. The error means that there will be none any more.
func (s *screen) key() (byte, error) {
	const wait = 50 // milliseconds
	ready := []unix.PollFd{{Fd: int32(s.in.Fd()), Events: unix.POLLIN}}
	if n, err := unix.Poll(ready, wait); n == 0 || errors.Is(err, unix.EINTR) {
		return 0, nil
	} else if err != nil {
		return 0, err
	}
	var b [1]byte
	_, err := s.in.Read(b[:])
	return b[0], err
}

// size is the terminal's, in cells.
func (s *screen) size() (width, height int) {
	width, height, err := term.GetSize(int(s.out.Fd()))
	if err != nil || width <= 0 || height <= 0 {
		return 80, 24
	}
	return width, height
}

// draw replaces what is on a screen of that height, in one write that the terminal shows at once if it can. A line is
// erased before it is written: behind a full one the cursor stands on its last cell.
func (s *screen) draw(lines []string, height int) {
	text := "\x1b[?2026h\x1b[H\x1b[K" + strings.Join(lines, "\r\n\x1b[K")
	if len(lines) < height {
		text += "\r\n\x1b[J"
	}
	s.out.WriteString(text + "\x1b[?2026l")
}

// close gives the terminal back as it was.
func (s *screen) close() {
	s.out.WriteString("\x1b[?7h\x1b[?25h\x1b[?1049l")
	if s.saved != nil {
		unix.IoctlSetTermios(int(s.in.Fd()), unix.TCSETSF, s.saved) // nothing is left to do about an error
	}
}
