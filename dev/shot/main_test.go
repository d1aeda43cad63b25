package main

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestPicture(t *testing.T) {
	svg := picture("bbctl <list>", "NODE  STATE\nweb1  \x1b[32mactive\x1b[0m  a & b\n\x1b[1;31mred\x1b[39m  \x1b[2mdim\x1b[0m\n")
	for _, want := range []string{
		`aria-label="bbctl &lt;list&gt;"`,
		`<text x="66.4" y="67.0" textLength="50.4" lengthAdjust="spacingAndGlyphs" fill="#7fd48a">active</text>`, // column 6 of line 2
		`>a &amp; b</text>`,
		`fill="#f2777a" font-weight="bold">red</text>`,
		`fill="#868e99" font-weight="bold">dim</text>`,
	} {
		if !strings.Contains(svg, want) {
			t.Errorf("no %s in\n%s", want, svg)
		}
	}
	for dec := xml.NewDecoder(strings.NewReader(svg)); ; {
		if _, err := dec.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
}
