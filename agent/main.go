package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/pool"
)

const usage = `bbagent keeps this node in the pool: it registers, sends heartbeats, freezes the node while it is unwell,
takes commands, and leaves when it is stopped.

  bbagent [run] [flags]
  bbagent version

A bare number is a time in seconds. SIGHUP reads the config again: thresholds apply at once.
Exit codes: 0 left in order, 1 failed, 2 wrong usage or config, 5 a newer agent has the node id.
`

const name = "bbagent"

// Main is the binary bbagent; it returns its exit code.
func Main(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) int {
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
	a, err := New(cfg)
	if err != nil {
		return cli.Report(stderr, name, &cli.Error{Code: cli.Usage, Err: err})
	}
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	go func() {
		for range hangup {
			next, _, _, err := cli.ParseFlags(name, args, Defaults, bind)
			reload(a, next, err, cfg.Log)
		}
	}()
	err = a.Run(ctx)
	signal.Stop(hangup)
	close(hangup)
	var newer *pool.SupersededError
	if errors.As(err, &newer) {
		err = &cli.Error{Code: cli.Refused, Err: fmt.Errorf("%w; this one stops (give each node an id of its own with --node-id)", err)}
	}
	return cli.Report(stderr, name, err)
}

// reload applies what it can of a config read again; readErr is why it could not be read.
func reload(a *Agent, next Config, readErr error, log *slog.Logger) {
	restart, err := []string(nil), readErr
	if err == nil {
		restart, err = a.Reload(next)
	}
	switch {
	case err != nil:
		log.Error("SIGHUP: config refused, nothing changed", "error", err)
	case len(restart) > 0:
		log.Warn("SIGHUP: thresholds apply; restart bbagent for the other changed settings", "settings", restart)
	default:
		log.Info("SIGHUP: config read again", "cpu_threshold", next.CPUThreshold, "memory_threshold", next.MemoryThreshold)
	}
}
