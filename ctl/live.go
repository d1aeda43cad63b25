package ctl

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/bazbeans/bazbeans/cli"
)

// live is a block of a few lines at the foot of a terminal that is painted anew in place. It belongs to one goroutine:
// whoever has more to print does so in above. Its nil is no terminal: there is no block then.
type live struct {
	out   *os.File
	lines []string // on the screen now
}

// newLive returns nil where nothing moves: no terminal, one that can't move its cursor, or a program that reads.
func (s *session) newLive() *live {
	f, ok := s.stderr.(*os.File)
	if !ok || !cli.IsTerminal(f) || os.Getenv("TERM") == "dumb" || s.output.data() {
		return nil
	}
	return &live{out: f}
}

// paint shows the lines in place of those before, in one write; nothing when they are the same.
func (l *live) paint(lines []string) {
	if l == nil || len(lines) == len(l.lines) && strings.Join(lines, "\n") == strings.Join(l.lines, "\n") {
		return
	}
	width := 80
	if w, _, err := term.GetSize(int(l.out.Fd())); err == nil && w > 0 {
		width = w
	}
	var b strings.Builder
	b.WriteString(l.erase())
	for _, line := range lines {
		b.WriteString(cutPainted(line, width-1) + "\n") // a full line might wrap
	}
	l.lines = lines
	_, _ = io.WriteString(l.out, b.String()) // a picture: the next one comes
}

// erase moves to where the block begins and clears what follows.
func (l *live) erase() string {
	if len(l.lines) == 0 {
		return ""
	}
	return fmt.Sprintf("\x1b[%dA\r\x1b[J", len(l.lines))
}

// above runs print with the block out of the way, and puts it back below what was printed.
func (l *live) above(print func()) {
	if l == nil {
		print()
		return
	}
	lines := l.lines
	l.paint(nil)
	print()
	l.paint(lines)
}

// cutPainted is cut for a text that may have colours: they take no cell.
func cutPainted(text string, most int) string {
	var b strings.Builder
	n, painted := 0, false
	for i := 0; i < len(text); {
		if strings.HasPrefix(text[i:], "\x1b[") {
			if end := strings.IndexByte(text[i:], 'm'); end > 0 {
				b.WriteString(text[i : i+end+1])
				painted = text[i:i+end+1] != "\x1b[0m"
				i += end + 1
				continue
			}
		}
		r := []rune(text[i:min(len(text), i+4)])[0]
		if n += runeCells(r); n > most {
			if painted {
				b.WriteString("\x1b[0m")
			}
			return b.String()
		}
		b.WriteRune(r)
		i += len(string(r))
	}
	return b.String()
}
