package ngxconf

import (
	"fmt"
	"strings"
	"testing"
)

// BenchmarkParse reads an upstream file of 10,000 servers.
func BenchmarkParse(b *testing.B) {
	var text strings.Builder
	text.WriteString("upstream app {\n")
	for i := range 10_000 {
		fmt.Fprintf(&text, "    server 10.0.%d.%d:8000 weight=2 max_fails=1 fail_timeout=10s;\n", i/250, i%250)
	}
	text.WriteString("}\n")
	src := []byte(text.String())
	b.SetBytes(int64(len(src)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(src); err != nil {
			b.Fatal(err)
		}
	}
}
