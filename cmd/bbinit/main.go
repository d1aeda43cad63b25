// Command bbinit is the first process of a container that runs two programs: the one that the container is for (Nginx,
// an application) and one beside it (lbd, bbagent) whose end must not disturb the first. It starts, stops, restarts and
// reaps; it reads no config, knows neither program, and never restarts the first: that is the container engine's task.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"github.com/bazbeans/bazbeans/cli"
)

const usage = `bbinit is the first process of a container with two programs: MAIN, which the container is for, and SECOND beside it.

Usage:
  bbinit [flags] MAIN [ARG…] [-- SECOND [ARG…]]
  bbinit health URL…        0 when each answers 2xx, else 1: for a container's health check
  bbinit version

MAIN ends: SECOND is told to end (SIGTERM, 10s), and so does bbinit, with MAIN's exit code (128 + signal).
SECOND ends: it is started again after 1s, 2s, 4s … 30s, and MAIN never notices. After exit code 5 it is not.
SIGTERM, SIGINT or SIGQUIT: SIGTERM to SECOND; when that has ended, --stop to MAIN. There is no limit of time: that is
the engine's (docker stop --time). Once more: SIGTERM to both at once; a third time: SIGKILL.
SIGHUP goes to SECOND. What --pass names goes to MAIN.
`

// options are what the command line says.
type options struct {
	main, second []string
	stop         syscall.Signal   // ends main in order
	pass         []syscall.Signal // go on to main
	test         []string         // main starts once this has exit code 0; nil: at once
	testTimeout  time.Duration    // main starts even so after it
}

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	var opt options
	var stop, test string
	var pass []string
	var help, version bool
	var format, level string
	fs := pflag.NewFlagSet("bbinit", pflag.ContinueOnError)
	fs.SetInterspersed(false)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	fs.StringVar(&stop, "stop", "TERM", "the `signal` that ends MAIN in order")
	fs.StringSliceVar(&pass, "pass", nil, "`signals` that are passed on to MAIN, as in HUP,USR1")
	fs.StringVar(&test, "test", "", "start MAIN only when this `command` (words, without a shell) has exit code 0; while it fails SECOND runs alone")
	fs.DurationVar(&opt.testTimeout, "test-timeout", 30*time.Second, "start MAIN after this `time` even so")
	fs.StringVar(&format, "log-format", "", "text or json (default: text on a terminal, else json)")
	fs.StringVar(&level, "log-level", "info", "debug, info, warn or error")
	fs.BoolVarP(&help, "help", "h", false, "show this help")
	fs.BoolVar(&version, "version", false, "show the version")
	if err := fs.Parse(args); err != nil && !errors.Is(err, pflag.ErrHelp) {
		return cli.Report(stderr, "bbinit", cli.Usagef("%w (see bbinit --help)", err))
	}
	switch args = fs.Args(); {
	case help:
		cli.PrintUsage(stdout, usage, fs)
		return cli.Done
	case version, slices.Equal(args, []string{"version"}):
		fmt.Fprintln(stdout, "bbinit", cli.Version())
		return cli.Done
	case len(args) > 0 && args[0] == "health":
		return cli.Report(stderr, "bbinit", health(args[1:]))
	}
	log, err := cli.Logger(stderr, format, level)
	if err == nil {
		err = opt.take(args, stop, test, pass)
	}
	if err != nil {
		return cli.Report(stderr, "bbinit", err)
	}
	signals, ended := make(chan os.Signal, 16), make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGCHLD) // one is enough: several may come as one
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGHUP)
	for _, sig := range opt.pass {
		signal.Notify(signals, sig)
	}
	return newSupervisor(opt, log).run(signals, ended)
}

// take fills opt from the words and the flags.
func (o *options) take(args []string, stop, test string, pass []string) (err error) {
	o.main = args
	if i := slices.Index(args, "--"); i >= 0 {
		o.main, o.second = args[:i], args[i+1:]
		if len(o.second) == 0 {
			return cli.Usagef("after -- there is no program (see bbinit --help)")
		}
	}
	if len(o.main) == 0 {
		return cli.Usagef("say which program to run (see bbinit --help)")
	}
	o.test = strings.Fields(test)
	if o.stop, err = signalOf(stop); err != nil {
		return err
	}
	for _, name := range pass {
		sig, err := signalOf(name)
		if err != nil {
			return err
		}
		o.pass = append(o.pass, sig)
	}
	for _, argv := range [][]string{o.main, o.second, o.test} {
		if len(argv) == 0 {
			continue
		}
		if _, err := exec.LookPath(argv[0]); err != nil {
			return &cli.Error{Code: notFound, Err: fmt.Errorf("find program %s: %w", argv[0], err)}
		}
	}
	return nil
}

// notFound is what a shell answers for a program that is not there.
const notFound = 127

func signalOf(name string) (syscall.Signal, error) {
	full := "SIG" + strings.TrimPrefix(strings.ToUpper(name), "SIG")
	sig := unix.SignalNum(full)
	if sig == 0 || sig == syscall.SIGKILL || sig == syscall.SIGSTOP || sig == syscall.SIGCHLD {
		return 0, cli.Usagef("%q is not the name of a signal that can be passed on", name)
	}
	return sig, nil
}
