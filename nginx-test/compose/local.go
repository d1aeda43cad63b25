package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// playLocal plays the cases without containers: there is no site then to tell stories to.
func (o *options) playLocal(ctx context.Context) error {
	fmt.Fprintln(os.Stderr, "without Docker: cases on this machine's nginx, no stories")
	if _, err := o.paths(); err != nil {
		return err
	}
	var args []string
	for _, binary := range o.nginx {
		args = append(args, "--nginx", binary)
	}
	return o.lbdTest(ctx, slices.Concat(args, o.caseFlags())...)
}

// caseFlags are those of `lbd test` for the cases, in a container and here. Engine lua is played where Nginx has Lua.
func (o *options) caseFlags() []string {
	args := []string{"--engine", "reload,lua"}
	for _, given := range [][]string{{"--cases", o.cases}, {"--templates", o.templates}, {"--fixture", o.fixture}, {"--golden", o.golden},
		{"--include", o.include}, {"--modules", o.modules}} {
		if given[1] != "" {
			args = append(args, given...)
		}
	}
	if o.update {
		args = append(args, "--update")
	}
	return append(args, o.more...)
}

// tested is the exit code of an `lbd test` that has said by itself what is wrong.
type tested int

func (t tested) Error() string { return fmt.Sprintf("lbd test ended with %d", int(t)) }

// lbdTest runs `lbd test` on this machine, which prints the table. Where that ends with something else than 0 the error
// is a [tested].
func (o *options) lbdTest(ctx context.Context, args ...string) error {
	if o.junit != "" {
		args = append([]string{"--junit", o.junit}, args...)
	}
	if o.show {
		args = append([]string{"--show"}, args...)
	}
	cmd := exec.CommandContext(ctx, filepath.Join(o.bin, "lbd"), append([]string{"test"}, args...)...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // it has an Nginx to end
	cmd.WaitDelay = 10 * time.Second
	err := cmd.Run()
	if exit := new(exec.ExitError); errors.As(err, &exit) && exit.Exited() {
		return tested(exit.ExitCode())
	}
	return err
}
