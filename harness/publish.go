package harness

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/lbd"
	"github.com/bazbeans/bazbeans/nginx-test/cases"
)

// publish prints the report and writes the JUnit file.
func (s *settings) publish(r *Report, c lbd.Call) error {
	if cli.IsTerminal(c.Stderr) {
		fmt.Fprint(c.Stderr, "\r\x1b[K") // over the progress
	}
	var err error
	if c.Output == "json" {
		enc := json.NewEncoder(c.Stdout)
		enc.SetIndent("", "  ")
		err = enc.Encode(r)
	} else {
		_, no := os.LookupEnv("NO_COLOR")
		colour := cli.IsTerminal(c.Stdout) && !no
		if s.show {
			r.show(c.Stdout, colour)
		}
		err = r.Print(c.Stdout, colour)
	}
	if s.junit == "" {
		return err
	}
	f, ferr := os.Create(s.junit)
	if ferr != nil {
		return errors.Join(err, fmt.Errorf("write JUnit file: %w", ferr))
	}
	return errors.Join(err, r.JUnit(f), f.Close())
}

// readReports joins what other runs printed.
func readReports(files []string) (*Report, error) {
	all := &Report{}
	for _, file := range files {
		var r Report
		text, err := os.ReadFile(file)
		if err == nil {
			err = json.Unmarshal(text, &r)
		}
		if err == nil && len(r.Results) == 0 {
			err = errors.New("no rows in it: did that run fail to begin?")
		}
		if err != nil {
			return nil, cli.Usagef("--from %s: %w", file, err)
		}
		all.add(&r)
	}
	all.finish()
	return all, nil
}

// writeCases puts the standard cases into a folder; files that are there stay as they are.
func writeCases(dir string, stdout io.Writer) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	names, err := fs.Glob(cases.FS, "*.yaml")
	if err != nil {
		return err
	}
	wrote := 0
	for _, name := range names {
		text, err := fs.ReadFile(cases.FS, name)
		if err != nil {
			return err
		}
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return err
		}
		_, err = f.Write(text)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
		wrote++
	}
	fmt.Fprintf(stdout, "%d cases written to %s, %d were there; play them: lbd test --cases %s\n", wrote, dir, len(names)-wrote, dir)
	return nil
}
