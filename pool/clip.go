package pool

import (
	"fmt"
	"strings"
)

// OutputMost bounds each of a command's outputs in its record, in bytes.
const OutputMost = 64 << 10

// Clip keeps the first and the last half of what is written to it, OutputMost bytes in all, however much comes. Its
// zero value is ready. It is not safe for concurrent use.
type Clip struct {
	head []byte
	tail []byte // a ring once it is full; next is its oldest byte
	next int
	lost int64
}

const half = OutputMost / 2

// Write never fails.
func (c *Clip) Write(b []byte) (int, error) {
	n := len(b)
	k := min(n, half-len(c.head))
	c.head, b = append(c.head, b[:k]...), b[k:]
	k = min(len(b), half-len(c.tail))
	c.tail, b = append(c.tail, b[:k]...), b[k:]
	c.lost += int64(len(b))
	if len(b) > half {
		b = b[len(b)-half:]
	}
	for len(b) > 0 {
		k = copy(c.tail[c.next:], b)
		b, c.next = b[k:], (c.next+k)%half
	}
	return n, nil
}

// String is what was kept, as valid UTF-8; a line in the middle says how many bytes are missing.
func (c *Clip) String() string {
	tail := string(c.tail[c.next:]) + string(c.tail[:c.next])
	s := string(c.head)
	if c.lost > 0 {
		s += fmt.Sprintf("\n… %d bytes left out …\n", c.lost)
	}
	return strings.ToValidUTF8(s+tail, "?")
}

// clip is Clip for a text at hand, which may have been through one.
func clip(s string) string {
	const note = 64 // more than the line in the middle has
	if len(s) <= OutputMost+note {
		return strings.ToValidUTF8(s, "?")
	}
	var c Clip
	_, _ = c.Write([]byte(s)) // never fails
	return c.String()
}
