package cli

import (
	"strconv"
	"strings"
)

// Printable makes foreign text safe for a terminal and cuts it to most runes: what is not printable, or hides or
// reorders text, is escaped as in Go.
func Printable(s string, most int) string {
	var b strings.Builder
	n := 0
	for _, r := range s {
		if n == most {
			return b.String() + "…"
		}
		if strconv.IsPrint(r) && r != '\uFFFD' {
			b.WriteRune(r)
		} else {
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		}
		n++
	}
	return b.String()
}
