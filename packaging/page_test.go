package packaging

import (
	"regexp"
	"strings"
	"testing"
)

var block = regexp.MustCompile("(?s)```sh\n(.*?)```")

// followed are the examples of the page that were run.
var followed = map[string]bool{}

// example is the example of docs/deploy-package.md in which a text occurs.
func example(t *testing.T, text string) string {
	t.Helper()
	for _, m := range block.FindAllStringSubmatch(read(t, "../docs/deploy-package.md"), -1) {
		if strings.Contains(m[1], text) {
			followed[m[1]] = true
			return m[1]
		}
	}
	t.Fatalf("the page has no example with %q", text)
	return ""
}

// allFollowed fails for what the page tells people to do and no test did.
func allFollowed(t *testing.T) {
	if example(t, "make packages") != "make packages\n" || !strings.Contains(read(t, "../Makefile"), "packaging/build dist\n") {
		t.Error("make packages is not what the page says")
	}
	for _, m := range block.FindAllStringSubmatch(read(t, "../docs/deploy-package.md"), -1) {
		if !followed[m[1]] {
			t.Errorf("nobody tried\n%s", m[1])
		}
	}
}
