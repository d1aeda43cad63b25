package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
)

// folders says where the files of a binary's modules are, and under "stdlib" those of Go.
func folders(info *debug.BuildInfo) (map[string]string, error) {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("go env: %w", err)
	}
	at := map[string]string{"stdlib": strings.TrimSpace(string(root))}
	args := []string{"mod", "download", "-json"}
	for _, d := range info.Deps {
		args = append(args, key(d))
	}
	if len(args) == 3 {
		return at, nil
	}
	cmd := exec.Command("go", args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("find the modules of the binary: %w", err)
	}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var m struct{ Path, Version, Dir string }
		if err := dec.Decode(&m); errors.Is(err, io.EOF) {
			return at, nil
		} else if err != nil {
			return nil, fmt.Errorf("find the modules of the binary: %w", err)
		}
		at[m.Path+"@"+m.Version] = m.Dir
	}
}

// known are the licences that a module may be under, by words that each must have and that no other above it has.
var known = []struct{ id, words string }{
	{"Apache-2.0", "Apache License Version 2.0"},
	{"MPL-2.0", "Mozilla Public License Version 2.0"},
	{"MPL-2.0", "Mozilla Public License, version 2.0"},
	{"BSD-3-Clause", "Neither the name of"},
	{"BSD-2-Clause", "Redistributions in binary form must reproduce"},
	{"ISC", "Permission to use, copy, modify, and/or distribute this software"},
	{"ISC", "Permission to use, copy, modify, and distribute this software"},
	{"MIT", "Permission is hereby granted, free of charge"},
}

var (
	licenceFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice)([.-].*)?$`)
	blanks      = regexp.MustCompile(`\s+`)
)

// licence returns the licence of a module, by its SPDX name, and the texts that have to go with its binary. One that is
// not known is an error: a person has to look at it.
func licence(dir string) (id, text string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", "", err
	}
	for _, e := range entries {
		if !licenceFile.MatchString(e.Name()) || e.IsDir() {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return "", "", err
		}
		text += strings.TrimSpace(string(data)) + "\n\n"
	}
	plain := blanks.ReplaceAllString(text, " ")
	for _, k := range known {
		if strings.Contains(plain, k.words) {
			return k.id, text, nil
		}
	}
	return "", "", fmt.Errorf("no licence that is known here in %s", dir)
}

// printLicences prints the licences of binaries, each module once, those with the same text together.
func printLicences(w io.Writer, binaries []string) error {
	under := map[string][]string{} // text -> modules
	for _, binary := range binaries {
		parts, err := modules(binary)
		if err != nil {
			return err
		}
		for _, m := range parts {
			_, text, err := licence(m.dir)
			if err != nil {
				return err
			}
			if name := m.path + " " + m.version; !slices.Contains(under[text], name) {
				under[text] = append(under[text], name)
			}
		}
	}
	texts := slices.SortedFunc(maps.Keys(under), func(a, b string) int {
		return strings.Compare(slices.Min(under[a]), slices.Min(under[b]))
	})
	for _, text := range texts {
		slices.Sort(under[text])
		if _, err := fmt.Fprintf(w, "%s\n\n%s\n%s\n", strings.Join(under[text], "\n"), text, strings.Repeat("-", 79)); err != nil {
			return err
		}
	}
	return nil
}
