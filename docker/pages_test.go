package docker

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

// block is an example of a page, with its language; it may stand in a list.
var block = regexp.MustCompile("(?ms)^ *```([a-z]+)\n(.*?)^ *```$")

// tried are the examples of all pages that were run.
var tried = map[string]bool{}

// ours are the images' names on the pages; in the tests they have a prefix of their own.
var ours = regexp.MustCompile(`\bbazbeans/(lbd|bbagent|bbctl|web)\b`)

// example is the one in a language of a page of docs in which a text occurs, with the images that there are here.
func example(t *testing.T, page, language, contains string) string {
	t.Helper()
	text, err := os.ReadFile("../docs/" + page + ".md")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, m := range block.FindAllStringSubmatch(string(text), -1) {
		if m[1] == language && strings.Contains(m[2], contains) {
			found = append(found, m[2])
		}
	}
	if len(found) != 1 {
		t.Fatalf("docs/%s.md has %d %s examples with %q, want one", page, len(found), language, contains)
	}
	tried[found[0]] = true
	return ours.ReplaceAllString(found[0], world.prefix+"$1")
}

// allFollowed returns an exit code: not 0 for what a page tells people to do and no test did.
func allFollowed() (code int) {
	for _, page := range []string{"deploy-container", "deploy-compose"} {
		text, err := os.ReadFile("../docs/" + page + ".md")
		blocks := block.FindAllStringSubmatch(string(text), -1)
		if err != nil || len(blocks) == 0 {
			fmt.Fprintf(os.Stderr, "docs/%s.md has no examples: %v\n", page, err)
			code = 1
		}
		for _, m := range blocks {
			if !tried[m[2]] && m[1] != "mermaid" {
				fmt.Fprintf(os.Stderr, "docs/%s.md: nobody tried\n%s", page, m[2])
				code = 1
			}
		}
	}
	return code
}
