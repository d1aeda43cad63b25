package agent

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
)

// ProgramCheck runs a program; exit code 0 is good. Its last line of output goes into the reason.
type ProgramCheck struct {
	Argv []string `yaml:"argv"` // the program, absolute or a name in the usual folders, and its arguments; no shell
}

func (c *ProgramCheck) prepare(h host) (probe, error) {
	if len(c.Argv) == 0 {
		return nil, errors.New(`argv: want a list of words like ["/usr/local/bin/check_queue", "--most", "100"]`)
	}
	if _, err := findProgram(c.Argv[0], h.path); err != nil {
		return nil, fmt.Errorf("argv: %w", err)
	}
	return func(ctx context.Context) error {
		last, err := runProgram(ctx, h.path, c.Argv)
		if last != "" && err != nil {
			err = fmt.Errorf("%w: %s", err, last)
		}
		return err
	}, nil
}

// runProgram runs a program and returns its last line of output; the error is short: the last line says more.
func runProgram(ctx context.Context, path, argv []string) (last string, err error) {
	file, err := findProgram(argv[0], path) // each time: it may be installed or removed meanwhile
	if err != nil {
		return "", err
	}
	var out tail
	cmd := child(ctx, path, append([]string{file}, argv[1:]...))
	cmd.Stdout, cmd.Stderr = &out, &out // of one value: exec writes one at a time
	err = runGroup(cmd)
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signaled():
		err = fmt.Errorf("killed by %v", exit.Sys().(syscall.WaitStatus).Signal())
	case errors.As(err, &exit):
		err = fmt.Errorf("exit code %d", exit.ExitCode())
	case errors.Is(err, exec.ErrWaitDelay):
		err = nil // it ended well; somebody who left its group holds the output open
	}
	return out.lastLine(), err
}

// tail keeps the end of what is written.
type tail struct{ b []byte }

const tailMost = 4 << 10 // bytes

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	if more := len(t.b) - tailMost; more > 0 {
		t.b = append(t.b[:0], t.b[more:]...)
	}
	return len(p), nil
}

func (t *tail) lastLine() string {
	text := strings.TrimSpace(string(t.b))
	return strings.TrimSpace(text[strings.LastIndexByte(text, '\n')+1:])
}

// SystemdCheck wants a unit that is active.
type SystemdCheck struct {
	Unit string `yaml:"unit"` // like app.service; without a type it is a service
}

func (c *SystemdCheck) prepare(h host) (probe, error) {
	if err := checkUnit(c.Unit); err != nil {
		return nil, err
	}
	argv := []string{"systemctl", "show", "--property=LoadState,ActiveState,SubState,Result", "--", c.Unit}
	return func(ctx context.Context) error {
		file, err := findProgram(argv[0], h.path)
		if err != nil {
			return err
		}
		cmd := child(ctx, h.path, append([]string{file}, argv[1:]...))
		var out, errs tail
		cmd.Stdout, cmd.Stderr = &out, &errs
		if err := runGroup(cmd); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("systemctl show: %w: %s", err, errs.lastLine())
		}
		return judgeUnit(c.Unit, string(out.b))
	}, nil
}

// judgeUnit reads what systemctl shows, one KEY=value a line.
func judgeUnit(unit, shown string) error {
	is := map[string]string{}
	for line := range strings.Lines(shown) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		is[key] = value
	}
	switch {
	case is["LoadState"] == "not-found":
		return fmt.Errorf("there is no unit %s", unit)
	case is["ActiveState"] == "active", is["ActiveState"] == "reloading":
		return nil
	case is["ActiveState"] == "":
		return errors.New("systemctl does not say how the unit is")
	case is["Result"] != "" && is["Result"] != "success":
		return fmt.Errorf("%s is %s (%s): %s", unit, is["ActiveState"], is["SubState"], is["Result"])
	}
	return fmt.Errorf("%s is %s (%s)", unit, is["ActiveState"], is["SubState"])
}
