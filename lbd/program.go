package lbd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"github.com/bazbeans/bazbeans/cli"
)

// Program is an lbd binary with more than lbd has.
type Program struct {
	Kinds    []Kind    // of resolvers, beside those of lbd
	Commands []Command // beside those of lbd
}

// Command is a subcommand of a Program.
type Command struct {
	Name  string
	Short string // one line of `lbd --help`
	Usage string // `lbd NAME --help`, to which its flags are added

	// Bind ties the command's own flags to variables of its own, and returns what runs with these. It is called anew for
	// each parsing.
	Bind func(fs *pflag.FlagSet) Run

	// ConfigFile is read where no --config is given, if it is there; "" for none.
	ConfigFile string
}

// Run is one run of a Command; it returns the exit code.
type Run func(ctx context.Context, c Call) int

// Call is what a Command is called with.
type Call struct {
	Config         Config
	ConfigFile     string // that Config was read from; "" for none
	Fixture        string // --fixture
	Output         string // -o
	Args           []string
	Stdout, Stderr io.Writer
}

// bind adds the flags of all commands to fs: which one is called is known only when all are parsed. `lbd --help` leaves
// them out.
func (p Program) bind(fs *pflag.FlagSet) map[string]Run {
	runs := map[string]Run{}
	for _, c := range p.Commands {
		own, run := c.bind()
		own.VisitAll(func(f *pflag.Flag) { f.Hidden = true })
		fs.AddFlagSet(own)
		runs[c.Name] = run
	}
	return runs
}

// bind returns the command's flags alone.
func (c Command) bind() (*pflag.FlagSet, Run) {
	own := pflag.NewFlagSet(c.Name, pflag.ContinueOnError)
	own.SortFlags = false
	return own, c.Bind(own)
}

// called returns the command of that name, nil for none, and an error for a flag of a command that is not called.
func (p Program) called(name string, fs *pflag.FlagSet) (called *Command, err error) {
	for i, c := range p.Commands {
		if c.Name == name {
			called = &p.Commands[i]
			continue
		}
		own, _ := c.bind()
		own.VisitAll(func(f *pflag.Flag) {
			if fs.Changed(f.Name) {
				err = cli.Usagef("--%s belongs to lbd %s", f.Name, c.Name)
			}
		})
	}
	return called, err
}

// help prints what `lbd NAME --help` prints.
func (c Command) help(w io.Writer) {
	own, _ := c.bind()
	cli.PrintUsage(w, c.Usage, own)
}

// fallback is the config file that is read without --config, "" for none. One that only root may read is no need of
// everybody who calls the command: that it is left out is said.
func (c Command) fallback(common cli.Common, stderr io.Writer) string {
	if common.Config != "" || c.ConfigFile == "" {
		return ""
	}
	f, err := os.Open(c.ConfigFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return ""
	case err != nil:
		fmt.Fprintf(stderr, "lbd: %v: going on without it\n", err)
		return ""
	}
	_ = f.Close() // it was only tried
	return c.ConfigFile
}

// usage is lbd's with a line for each command, before that of the version.
func (p Program) usage() string {
	const last = "  lbd version\n"
	before, after, _ := strings.Cut(usage, last)
	for _, c := range p.Commands {
		before += fmt.Sprintf("  lbd %-21s %s\n", c.Name, c.Short)
	}
	return before + last + after
}
