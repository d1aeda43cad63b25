package names_test

import (
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/bazbeans/bazbeans/lbd/live/names"
)

func TestDocsShowWhatNginxGets(t *testing.T) {
	text, err := os.ReadFile("../../../docs/live-resolve.md")
	if err != nil {
		t.Fatal(err)
	}
	lines := append(names.Directives(netip.MustParseAddrPort("127.0.0.1:9153"), false), "server "+names.Server(app)+";")
	block := "upstream app_backend {\n    zone app_backend 256k;\n    " + lines[len(lines)-1] + "\n    " + strings.Join(lines[:len(lines)-1], "\n    ") + "\n}\n"
	if !strings.Contains(string(text), block) {
		t.Errorf("docs/live-resolve.md has not\n%s", block)
	}
}
