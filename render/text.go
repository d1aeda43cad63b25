package render

import (
	"fmt"
	"io"
	"strings"
	"unicode"
)

// Text is free text from outside: a data center's name, a label's value. A template may compare it as it is, with
// eq and its like; however it is printed, it comes out harmless (see harmless), so that no value can end a word, a
// statement or a comment of the configuration. The functions quote and comment keep more of it.
type Text string

// maxText is how many characters of a Text are printed, whatever its length.
const maxText = 128

// String returns the harmless form.
func (t Text) String() string { return harmless(string(t)) }

// Format makes every verb of printf print the harmless form, %d and %#v too.
func (t Text) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, t.String()) } // fmt's buffer takes everything

// harmless returns s as one bare word: letters, digits and . _ : / @ + - stay, everything else becomes "_".
func harmless(s string) string {
	return keep(s, func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', strings.ContainsRune("._:/@+-", r):
			return r
		}
		return '_'
	})
}

// quoted returns s as one quoted word of a configuration, so that blanks, ";", "#" and braces are part of it. What
// Nginx cannot quote, "$" and what is not printable, becomes "_".
func quoted(s string) string {
	s = keep(s, func(r rune) rune {
		if r == '$' || !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return '_'
		}
		return r
	})
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// commented returns s as a comment up to the end of its line: printable ASCII stays, everything else becomes "_".
func commented(s string) string {
	return "# " + keep(s, func(r rune) rune {
		if r < ' ' || r > '~' {
			return '_'
		}
		return r
	})
}

// keep maps the first maxText characters of s; bytes that are not UTF-8 come to rule as U+FFFD.
func keep(s string, rule func(rune) rune) string {
	var b strings.Builder
	n := 0
	for _, r := range s {
		if n++; n > maxText {
			break
		}
		b.WriteRune(rule(r))
	}
	return b.String()
}
