package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Every story and every variable of `make harness` is on the page, and the page has no variable that there is not.
func TestPageIsComplete(t *testing.T) {
	read := func(path string) string {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	_, page, _ := strings.Cut(read("../../docs/harness.md"), "## In containers")
	page, _, _ = strings.Cut(page, "\n## ")
	for _, s := range stories {
		if !strings.Contains(page, "| "+s.name+" |") {
			t.Errorf("the page does not tell the story %q", s.name)
		}
	}
	makefile := read("../../Makefile")
	_, recipe, _ := strings.Cut(makefile, "\nharness:")
	recipe, _, _ = strings.Cut(recipe, "\n\n")
	var used []string
	for _, m := range regexp.MustCompile(`\$\((?:if |foreach n,|findstring debian:,)?\$?\(?([A-Z_]+)\)`).FindAllStringSubmatch(recipe, -1) {
		used = append(used, m[1])
	}
	for _, name := range used {
		if name != "LDFLAGS" && !strings.Contains(page, name) {
			t.Errorf("the page does not explain %s", name)
		}
	}
	for _, m := range regexp.MustCompile("`([A-Z_]{4,})(?:=[^`]*)?`").FindAllStringSubmatch(page, -1) {
		if !slices.Contains(used, m[1]) {
			t.Errorf("the page explains %s, which make harness does not know", m[1])
		}
	}
}
