package main

import (
	"os"
	"strings"
	"testing"
	"time"
)

const example = `# Changelog

Lines are …

## Unreleased

- [FEATURE] lbd: new

## 1.2.0-rc.1 (2026-12-01)

- [BUGFIX] bbctl: a line that is so long that it has to be broken into several ones, as Debian wants it
- [CHANGE] agent: two

## 1.1.0 (2026-11-01)

- [FEATURE] lbd: one
`

func TestNotes(t *testing.T) {
	for version, want := range map[string]string{
		"1.1.0": "- [FEATURE] lbd: one\n", "1.2.0~rc.1+5.gabc": "- [FEATURE] lbd: new\n", "0.0.0~20261122180200.gabc.dirty": "- [FEATURE] lbd: new\n",
	} {
		if got, err := notes(example, version); got != want || err != nil {
			t.Errorf("%s: %q, %v", version, got, err)
		}
	}
	if got, err := notes(example, "1.2.0~rc.1"); strings.Count(got, "\n") != 2 || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := notes(example, "1.3.0"); err == nil || !strings.Contains(err.Error(), "## 1.3.0 (YYYY-MM-DD)") {
		t.Errorf("a release without a section: %v", err)
	}
	if _, err := notes("## 1.2.0\n\n- x\n", "1.2.0"); err == nil || !strings.Contains(err.Error(), `"## 1.2.0" is neither`) {
		t.Errorf("a heading without a date: %v", err)
	}
}

func TestDebian(t *testing.T) {
	now := time.Date(2026, 12, 24, 12, 0, 0, 0, time.UTC)
	got, err := debian(example, "p", "1.2.0~rc.1+5.gabc", "Ann <ann@example.org>", now)
	want := `p (1.2.0~rc.1+5.gabc) unstable; urgency=medium

  * [FEATURE] lbd: new

 -- Ann <ann@example.org>  Thu, 24 Dec 2026 12:00:00 +0000

p (1.2.0~rc.1) unstable; urgency=medium

  * [BUGFIX] bbctl: a line that is so long that it has to be broken into
    several ones, as Debian wants it
  * [CHANGE] agent: two

 -- Ann <ann@example.org>  Tue, 01 Dec 2026 00:00:00 +0000

p (1.1.0) unstable; urgency=medium

  * [FEATURE] lbd: one

 -- Ann <ann@example.org>  Sun, 01 Nov 2026 00:00:00 +0000
`
	if got != want || err != nil {
		t.Errorf("%v\n%s", err, got)
	}
	if got, err = debian("## 1.1.0 (2026-11-01)\n- x\n", "p", "1.2.0", "a <b>", now); !strings.HasPrefix(got, "p (1.2.0) ") || err != nil {
		t.Errorf("%v\n%s", err, got)
	}
}

// Our own CHANGELOG.md can be read, and no line is too long for Debian.
func TestOurs(t *testing.T) {
	text, err := os.ReadFile("../../CHANGELOG.md")
	if err != nil {
		t.Fatal(err)
	}
	got, err := debian(string(text), "bazbeans-lbd", "1.2.0+5.gabc", "Ann <ann@example.org>", time.Now())
	if err != nil || strings.Count(got, "\n") < strings.Count(string(text), "\n")/2 {
		t.Fatalf("%v\n%s", err, got)
	}
	for line := range strings.Lines(got) {
		if words := strings.Fields(line); len([]rune(line)) > 80 && len(words) > 2 {
			t.Errorf("too long: %s", line)
		}
	}
}
