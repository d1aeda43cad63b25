// Command changelog prints CHANGELOG.md in another form: the notes of one version, or all of it as Debian's packages
// have it. It does not judge what is in it.
//
//	changelog notes VERSION < CHANGELOG.md
//	changelog debian PACKAGE VERSION MAINTAINER < CHANGELOG.md     SOURCE_DATE_EPOCH: when what is unreleased was made
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/bazbeans/bazbeans/cli"
)

func main() { cli.Main(run) }

func run(_ context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	text, err := io.ReadAll(stdin)
	if err != nil {
		return cli.Report(stderr, "changelog", err)
	}
	var out string
	switch {
	case len(args) == 2 && args[0] == "notes":
		out, err = notes(string(text), args[1])
	case len(args) == 4 && args[0] == "debian":
		var epoch int64
		if epoch, err = strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64); err != nil {
			err = cli.Usagef("set SOURCE_DATE_EPOCH to the time of the build in Unix seconds: %v", err)
			break
		}
		out, err = debian(string(text), args[1], args[2], args[3], time.Unix(epoch, 0))
	default:
		err = cli.Usagef("want notes VERSION, or debian PACKAGE VERSION MAINTAINER")
	}
	fmt.Fprint(stdout, out)
	return cli.Report(stderr, "changelog", err)
}

// section is what changed with one version.
type section struct {
	version string // "" is what is not released yet
	date    time.Time
	lines   []string // its text
}

var heading = regexp.MustCompile(`^## (?:Unreleased|(\S+) \((\d{4}-\d\d-\d\d)\))$`)

// read returns the sections, the newest first, without those that are empty.
func read(text string) (sections []section, err error) {
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, "## ") {
			m := heading.FindStringSubmatch(line)
			if m == nil {
				return nil, fmt.Errorf(`CHANGELOG.md: %q is neither "## Unreleased" nor of the form "## 1.2.0 (2026-12-01)"`, line)
			}
			s := section{version: m[1]}
			if s.version != "" {
				if s.date, err = time.Parse(time.DateOnly, m[2]); err != nil {
					return nil, fmt.Errorf("CHANGELOG.md: %s: %w", line, err)
				}
			}
			sections = append(sections, s)
		} else if len(sections) > 0 && line != "" {
			last := &sections[len(sections)-1]
			last.lines = append(last.lines, line)
		}
	}
	kept := sections[:0]
	for _, s := range sections {
		if len(s.lines) > 0 {
			kept = append(kept, s)
		}
	}
	return kept, nil
}

// isRelease tells a version that has a tag of its own, as packaging/version writes them.
func isRelease(version string) bool {
	return !strings.ContainsRune(version, '+') && !strings.HasPrefix(version, "0.0.0~")
}

// sorted is a version of a heading as dpkg and rpm sort it: 1.2.0-rc.1 is 1.2.0~rc.1, as packaging/version has it.
func sorted(version string) string { return strings.Replace(version, "-", "~", 1) }

func notes(text, version string) (string, error) {
	sections, err := read(text)
	if err != nil {
		return "", err
	}
	for _, s := range sections {
		if s.version != "" && sorted(s.version) == version || s.version == "" && !isRelease(version) {
			return strings.Join(s.lines, "\n") + "\n", nil
		}
	}
	if !isRelease(version) {
		return "Nothing has changed for users since the last release.\n", nil
	}
	return "", fmt.Errorf("CHANGELOG.md has no section %q with lines: head what is released with it, and tag that commit", "## "+version+" (YYYY-MM-DD)")
}

// debian is Debian's form: https://www.debian.org/doc/debian-policy/ch-source.html#debian-changelog-debian-changelog
func debian(text, pkg, version, maintainer string, now time.Time) (string, error) {
	sections, err := read(text)
	if err != nil {
		return "", err
	}
	if len(sections) == 0 || sections[0].version != "" && sorted(sections[0].version) != version {
		sections = append([]section{{lines: []string{"- A build of this tree."}}}, sections...)
	}
	var b strings.Builder
	for _, s := range sections {
		if s.version == "" {
			s.version, s.date = version, now
		}
		fmt.Fprintf(&b, "%s (%s) unstable; urgency=medium\n\n", pkg, sorted(s.version))
		for _, line := range s.lines {
			item, ok := strings.CutPrefix(line, "- ")
			wrap(&b, item, ok)
		}
		fmt.Fprintf(&b, "\n -- %s  %s\n\n", maintainer, s.date.UTC().Format(time.RFC1123Z))
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

// wrap writes one entry in lines of at most 79 characters.
func wrap(b *strings.Builder, text string, item bool) {
	line := "   "
	if item {
		line = "  *"
	}
	for _, word := range strings.Fields(text) {
		if len([]rune(line+" "+word)) > 79 && strings.TrimLeft(line, " *") != "" {
			b.WriteString(line + "\n")
			line = "   "
		}
		line += " " + word
	}
	b.WriteString(line + "\n")
}
