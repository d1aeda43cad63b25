package nginx

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// glob expands pattern, an absolute path, as glob(3) does for Nginx: on bytes, sorted by bytes, no wildcard for a
// leading dot, a pattern without match gives nothing. See decision "How to test a file that is not there yet" for
// the two differences: the outputs that are still to be made are there, those that are to be removed are not; dropped
// tells whether there were such.
func glob(pattern string, outs []*output) (found []string, dropped bool) {
	found = []string{""}
	parts := strings.Split(pattern, "/")[1:]
	for i, part := range parts {
		last := i == len(parts)-1
		var next []string
		for _, dir := range found {
			names := entries(dir, part, last)
			if last {
				var less bool
				names, less = wanted(names, dir, part, outs)
				dropped = dropped || less
			}
			for _, name := range names {
				next = append(next, dir+"/"+name)
			}
		}
		found = next
	}
	slices.Sort(found)
	return found, dropped
}

// entries lists the names in dir that match part, one component of a pattern.
func entries(dir, part string, last bool) []string {
	if !hasMeta(part) {
		part = unescapeGlob(part)
		if last {
			if _, err := os.Lstat(dir + "/" + part); err != nil {
				return nil
			}
		}
		return []string{part}
	}
	all, err := readNames(dir + "/")
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(all, func(name string) bool { return !match(part, name) })
}

// wanted adds to names, the entries of dir that match part, the outputs to be made and takes those to be removed.
func wanted(names []string, dir, part string, outs []*output) (list []string, dropped bool) {
	for _, out := range outs {
		base := filepath.Base(out.real)
		if out.exists != out.Remove || !match(part, base) && part != base {
			continue // it stays what it is, or is no match
		}
		if at, err := place(dir + "/" + base); err != nil || at != out.real {
			continue
		}
		if out.Remove {
			names = slices.DeleteFunc(names, func(name string) bool { return name == base })
			dropped = true
		} else if !slices.Contains(names, base) {
			names = append(names, base)
		}
	}
	return names, dropped
}

func hasMeta(s string) bool { return strings.ContainsAny(s, "*?[") }

func unescapeGlob(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// escapeGlob returns a pattern that matches path alone, for a path that Nginx would take for a pattern.
func escapeGlob(path string) string {
	if !hasMeta(path) {
		return path
	}
	return globQuoter.Replace(path)
}

var globQuoter = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`)

// match is fnmatch(3) with FNM_PERIOD in the C locale, for one component. The classes of brackets are those that
// people write: ranges, "!" and "^" at the start, "]" as the first byte; [:alpha:] and its like are not known.
func match(pattern, name string) bool {
	if strings.HasPrefix(name, ".") && !strings.HasPrefix(pattern, ".") && !strings.HasPrefix(pattern, `\.`) {
		return false
	}
	p, s := 0, 0
	star, mark := -1, 0 // where to go on after a mismatch: behind the last star, one byte further
	for s < len(name) {
		if p < len(pattern) && pattern[p] == '*' {
			star, mark = p, s
			p++
			continue
		}
		if width := matchByte(pattern[p:], name[s]); width > 0 {
			p += width
			s++
			continue
		}
		if star < 0 {
			return false
		}
		mark++
		p, s = star+1, mark
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// matchByte returns the length of the pattern's first element if that matches c, else 0.
func matchByte(pattern string, c byte) int {
	if pattern == "" {
		return 0
	}
	switch pattern[0] {
	case '?':
		return 1
	case '\\':
		if len(pattern) > 1 && pattern[1] == c {
			return 2
		}
		return 0
	case '[':
		if width, ok := matchClass(pattern, c); width > 0 {
			if ok {
				return width
			}
			return 0
		} // no "]": an ordinary byte
	}
	if pattern[0] == c {
		return 1
	}
	return 0
}

// matchClass reads the bracket at the start of pattern; width is 0 when it is not closed.
func matchClass(pattern string, c byte) (width int, ok bool) {
	i, not := 1, false
	if i < len(pattern) && (pattern[i] == '!' || pattern[i] == '^') {
		not = true
		i++
	}
	for first := true; i < len(pattern) && (first || pattern[i] != ']'); first = false {
		lo := pattern[i]
		if lo == '\\' && i+1 < len(pattern) {
			i++
			lo = pattern[i]
		}
		hi := lo
		if i+2 < len(pattern) && pattern[i+1] == '-' && pattern[i+2] != ']' {
			i += 2
			hi = pattern[i]
		}
		ok = ok || lo <= c && c <= hi
		i++
	}
	if i >= len(pattern) {
		return 0, false
	}
	return i + 1, ok != not
}
