package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/pool"
)

const usage = `bbagent keeps this node in the pool: it registers, sends heartbeats, freezes the node while it is unwell,
takes commands, and leaves when it is stopped.

  bbagent [run] [flags]
  bbagent version

A bare number is a time in seconds. SIGTERM and SIGINT: the node drains, then leaves; a second one: it leaves at once.
SIGHUP reads the config again: checks, thresholds, labels, weight, port, data center and times apply at once.
Exit codes: 0 left in order, 1 failed, 2 wrong usage or config, 5 a newer agent has the node id.
`

const name = "bbagent"

// Main is the binary bbagent; it returns its exit code.
func Main(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) int {
	// Before all else: one that comes early must not end the agent.
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)

	cfg, common, flags, err := cli.ParseFlags(name, args, Defaults, bind)
	verb := flags.Arg(0)
	switch {
	case err != nil:
		return cli.Report(stderr, name, err)
	case common.Help:
		cli.PrintUsage(stdout, usage, flags)
		return cli.Done
	case common.Version || verb == "version":
		fmt.Fprintln(stdout, name, cli.Version())
		return cli.Done
	case flags.NArg() > 1 || verb != "" && verb != "run":
		return cli.Report(stderr, name, cli.Usagef("%q is not a command (see %s --help)", strings.Join(flags.Args(), " "), name))
	}
	if cfg.Log, err = cli.Logger(stderr, common.LogFormat, common.LogLevel); err != nil {
		return cli.Report(stderr, name, err)
	}
	cfg.Notify = cli.NewNotifier(cfg.Log)
	a, err := New(cfg)
	if err != nil {
		return cli.Report(stderr, name, &cli.Error{Code: cli.Usage, Err: err})
	}
	ended := make(chan struct{})
	var listening sync.WaitGroup
	listening.Go(func() { a.heed(hangup, ended, args) })
	err = a.Run(ctx)
	close(ended)
	listening.Wait()
	var newer *pool.SupersededError
	if errors.As(err, &newer) {
		err = &cli.Error{Code: cli.Refused, Err: fmt.Errorf("%w; this one stops (give each node an id of its own with --node-id)", err)}
	}
	return cli.Report(stderr, name, err)
}

// heed carries signals out until ended: a hangup reads the config again, the second signal to stop cuts the drain short,
// and one more does what a signal does by default. The first is the business of whoever made Run's ctx.
func (a *Agent) heed(hangup <-chan os.Signal, ended <-chan struct{}, args []string) {
	stops := make(chan os.Signal, 2)
	signal.Notify(stops, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(stops)
	for seen := 0; ; {
		select {
		case <-ended:
			return
		case <-hangup:
			a.cfg.Notify.Reloading()
			next, _, _, err := cli.ParseFlags(name, args, Defaults, bind)
			a.reread(next, err)
			a.cfg.Notify.Ready()
		case <-stops:
			if seen++; seen == 2 {
				a.log.Warn("second signal: leaves at once")
				a.LeaveNow()
				signal.Stop(stops)
			}
		}
	}
}

// reread applies what it can of a config read again; readErr is why it could not be read.
func (a *Agent) reread(next Config, readErr error) {
	restart, err := []string(nil), readErr
	if err == nil {
		restart, err = a.Reload(next)
	}
	switch {
	case err != nil:
		a.log.Error("SIGHUP: config refused, nothing changed", "error", err)
	case len(restart) > 0:
		a.log.Warn("SIGHUP: config read again; restart bbagent for these changed settings", "settings", restart)
	default:
		a.log.Info("SIGHUP: config read again", "checks", len(next.Checks),
			"cpu_threshold", next.CPUThreshold, "memory_threshold", next.MemoryThreshold)
	}
}
