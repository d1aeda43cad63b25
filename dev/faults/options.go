package main

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"

	"github.com/spf13/pflag"

	"github.com/bazbeans/bazbeans/cli"
)

// options are what the command line sets.
type options struct {
	only    *regexp.Regexp // rows whose name matches; nil: all
	list    bool
	short   bool
	engines []string // that rows are played with; nil: reload, and in a short run some rows with live ones
	out     string   // folder; "": nothing is written
	bin     string   // folder with lbd, bbagent
	keep    bool     // the folders of rows that failed
}

const usage = `faults does to a small site what happens to sites, one fault a row, under constant traffic: Redis, the network, the
disk, Nginx, lbd and the pool's data go wrong, and no request may be lost that a bare Nginx would not have lost.

Usage:
  make faults                  all rows
  go run ./dev/faults [flags]  after make build
`

// parse returns the options, or the help text when that was asked for. Its errors have exit code 2.
func parse(args []string) (o options, help string, err error) {
	fs := pflag.NewFlagSet("faults", pflag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	only := fs.String("only", "", "rows whose name matches this `pattern`, like '^redis'")
	fs.BoolVar(&o.list, "list", false, "say what the rows are, and do nothing")
	fs.BoolVar(&o.short, "short", false, "less of what only takes time, and some rows are left out unless --only names them: for every push")
	engine := fs.String("engine", "", "how changes go into Nginx: reload, lua, resolve or all; without it reload, and in a short run lua and resolve for some rows")
	fs.StringVar(&o.out, "out", "", "`folder` for faults.json and faults.md")
	fs.StringVar(&o.bin, "bin", "bin", "`folder` with the binaries lbd and bbagent")
	fs.BoolVar(&o.keep, "keep", false, "keep the folder of a row that failed, and say where it is")
	if err := fs.Parse(args); errors.Is(err, pflag.ErrHelp) {
		return o, usage + "\nFlags:\n" + fs.FlagUsagesWrapped(100), nil
	} else if err != nil {
		return o, "", cli.Usagef("%w (see --help)", err)
	}
	if fs.NArg() > 0 {
		return o, "", cli.Usagef("%q is one word too many (see --help)", fs.Arg(0))
	}
	if *only != "" {
		if o.only, err = regexp.Compile(*only); err != nil {
			return o, "", cli.Usagef("--only: %w", err)
		}
	}
	if *engine != "" {
		if o.engines, err = chooseEngines(*engine); err != nil {
			return o, "", err
		}
	}
	return o, "", o.check()
}

// check also looks for the binaries, so that not every row fails of the same cause.
func (o *options) check() (err error) {
	if o.list {
		return nil
	}
	if o.bin, err = filepath.Abs(o.bin); err != nil {
		return cli.Usagef("--bin: %w", err)
	}
	for _, name := range []string{"lbd", "bbagent"} {
		if _, err := exec.LookPath(filepath.Join(o.bin, name)); err != nil {
			return cli.Usagef("--bin: %w (run `make build`)", err)
		}
	}
	if o.out == "" {
		return nil
	}
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return cli.Usagef("--out: %w", err)
	}
	return nil
}
