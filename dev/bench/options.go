package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/bazbeans/bazbeans/cli"
)

// options are what the command line sets. They go into the results as they are.
type options struct {
	Cycles int     `json:"cycles"`      // of each contender, twice for resolve
	Live   int     `json:"live_cycles"` // of those whose changes take milliseconds
	Rate   float64 `json:"rate"`        // requests a second
	Conns  int     `json:"conns"`       // keep-alive connections
	Nodes  int     `json:"nodes"`
	Post   float64 `json:"post"` // share of POST, 0 to 1

	Pairs  int `json:"wrk_rounds"`  // runs of wrk against each front
	WrkFor int `json:"wrk_seconds"` // each
	Pushes int `json:"updates"`     // that memory is watched over

	only     []string // contenders and parts; empty: all
	lbd      string   // the binary
	haproxy  string   // the binary
	wrk      string   // the binary
	newNginx string   // the binary of the resolve engine's Nginx; "": Debian sid's
	confd    string   // the binary; "": no such contender
	out      string   // folder
	json     bool

	perTurn int // cycles, before it is the next contender's turn
}

const (
	mostNodes = 250 // 127.0.1.1 to 127.0.1.250
	// leastShare is how many requests a second a node must get. Less, and neither a drained node can be told from one
	// that had no luck, nor would a time mean much.
	leastShare = 10.0
)

const usage = `bench measures freeze and unfreeze under load: the engines of lbd beside the bare floor, HAProxy and confd.

Usage:
  make bench                  with CYCLES=50 in the environment
  go run ./dev/bench [flags]  after make build
`

// parse returns the options, or the help text when that was asked for. Its errors have exit code 2.
func parse(args []string) (o options, help string, err error) {
	fs := pflag.NewFlagSet("bench", pflag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	fs.IntVar(&o.Cycles, "cycles", 50, "`number` of freezes and unfreezes, for each contender that needs a second or so for one; resolve makes twice as many")
	fs.IntVar(&o.Live, "live-cycles", 0, "`number` for lua and haproxy (default 20 times --cycles)")
	fs.StringSliceVar(&o.only, "only", nil, "only these: "+strings.Join(everything, ","))
	fs.Float64Var(&o.Rate, "rate", 2000, "requests a second")
	fs.IntVar(&o.Conns, "conns", 32, "keep-alive connections of the clients")
	fs.IntVar(&o.Nodes, "nodes", 8, "nodes, on 127.0.1.1 and up")
	fs.Float64Var(&o.Post, "post", 0.5, "`share` of POST among the requests, 0 to 1")
	fs.StringVar(&o.lbd, "lbd", "bin/lbd", "the lbd `binary`")
	fs.StringVar(&o.haproxy, "haproxy", "haproxy", "the haproxy `binary`")
	fs.StringVar(&o.wrk, "wrk", "wrk", "the wrk `binary`")
	fs.StringVar(&o.newNginx, "new-nginx", "", "an nginx `binary` of 1.27.3 or later, for resolve (default: Debian sid's, in a folder made once, as root)")
	fs.IntVar(&o.Pairs, "rounds", 10, "`number` of runs of wrk against each Nginx, in turn; half as many for peers")
	fs.IntVar(&o.WrkFor, "wrk-seconds", 5, "`seconds` of each such run")
	fs.IntVar(&o.Pushes, "updates", 100000, "`number` of updates that Nginx's memory is watched over")
	fs.StringVar(&o.confd, "confd", "", "a confd `binary`, to be measured too (0.16 or later)")
	fs.StringVar(&o.out, "out", "bench-out", "`folder` for bench.json and bench.svg")
	fs.BoolVar(&o.json, "json", false, "print the JSON in place of the table")
	o.perTurn = perTurn
	if err := fs.Parse(args); errors.Is(err, pflag.ErrHelp) {
		return o, usage + "\nFlags:\n" + fs.FlagUsagesWrapped(100), nil
	} else if err != nil {
		return o, "", cli.Usagef("%w (see --help)", err)
	}
	if fs.NArg() > 0 {
		return o, "", cli.Usagef("%q is one word too many (see --help)", fs.Arg(0))
	}
	if o.Live == 0 {
		o.Live = 20 * o.Cycles
	}
	return o, "", o.check()
}

// check also looks for the binaries, so that nobody waits for a run that cannot be finished.
func (o *options) check() error {
	for _, name := range o.only {
		if !slices.Contains(everything, name) {
			return cli.Usagef("--only %s: want some of %s", name, strings.Join(everything, ","))
		}
	}
	switch {
	case o.Live < o.Cycles:
		return cli.Usagef("--live-cycles %d: at least --cycles, %d", o.Live, o.Cycles)
	case o.Pairs < 1 || o.WrkFor < 1 || o.Pushes < leastPushes:
		return cli.Usagef("--rounds %d, --wrk-seconds %d, --updates %d: at least 1, 1 and %d", o.Pairs, o.WrkFor, o.Pushes, leastPushes)
	case o.Cycles < 1:
		return cli.Usagef("--cycles %d: at least 1", o.Cycles)
	case o.Conns < 1:
		return cli.Usagef("--conns %d: at least 1", o.Conns)
	case o.Nodes < 2 || o.Nodes > mostNodes:
		return cli.Usagef("--nodes %d: 2 to %d", o.Nodes, mostNodes)
	case !(o.Post >= 0 && o.Post <= 1):
		return cli.Usagef("--post %v: 0 (only GET) to 1 (only POST)", o.Post)
	case !(o.Rate >= leastShare*float64(o.Nodes)):
		return cli.Usagef("--rate %v: %d nodes need at least %v, that is %v a second each", o.Rate, o.Nodes, leastShare*float64(o.Nodes), leastShare)
	}
	if _, err := exec.LookPath(o.lbd); err != nil {
		return cli.Usagef("--lbd: %w (run `make build`)", err)
	}
	if err := o.checkBinaries(); err != nil {
		return err
	}
	if o.confd != "" {
		if _, err := exec.LookPath(o.confd); err != nil {
			return cli.Usagef("--confd: %w", err)
		}
		if version, err := output(o.confd, "--version"); err != nil || !strings.Contains(version, "confd") {
			return cli.Usagef("--confd: %s --version says %.80q: that is no confd", o.confd, version)
		}
	}
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return cli.Usagef("--out: %w", err)
	}
	return nil
}

// checkBinaries looks for what not every contender needs.
func (o *options) checkBinaries() error {
	for _, need := range []struct {
		flag, binary, pack string
		by                 []string
	}{
		{"--haproxy", o.haproxy, "haproxy", []string{laneHAProxy}},
		{"--wrk", o.wrk, "wrk", []string{partThroughput, partPeers}},
	} {
		if !slices.ContainsFunc(need.by, o.does) {
			continue
		}
		if _, err := exec.LookPath(need.binary); err != nil {
			return cli.Usagef("%s: %w (install %s, or name what to measure with --only)", need.flag, err, need.pack)
		}
	}
	if slices.ContainsFunc([]string{laneLua, partThroughput, partPeers}, o.does) {
		for _, path := range luaModules {
			if _, err := os.Stat(path); err != nil {
				return cli.Usagef("lua: %w (install libnginx-mod-http-lua, or name what to measure with --only)", err)
			}
		}
	}
	return nil
}

// output runs a program that answers at once and returns what it says, on either stream.
func output(argv ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second) // before anything has begun
	defer cancel()
	text, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("run %s: %w", strings.Join(argv, " "), err)
	}
	return strings.TrimSpace(string(text)), err
}
