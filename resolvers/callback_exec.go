package resolvers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// program is a program that is asked for addresses.
type program struct {
	argv []string
	as   *syscall.Credential // nil: as lbd
}

// programPath is all that a program finds in its environment: lbd's own may hold secrets.
const programPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

func newProgram(o CallbackOptions) (*program, error) {
	path := o.Exec[0]
	if !filepath.IsAbs(path) {
		return nil, fmt.Errorf("exec: %q is not an absolute path", path)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("exec: %w", err)
	}
	if !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
		return nil, fmt.Errorf("exec: %s is not a program: make it executable", path)
	}
	p := &program{argv: o.Exec}
	if o.User != "" {
		if p.as, err = credential(o.User); err != nil {
			return nil, fmt.Errorf("user: %w", err)
		}
	}
	return p, nil
}

// credential is what it takes to run as a user; nil for the one that we are.
func credential(name string) (*syscall.Credential, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return nil, err
	}
	ids, err := u.GroupIds()
	if err != nil {
		return nil, err
	}
	var numbers []uint32
	for _, text := range append([]string{u.Uid, u.Gid}, ids...) {
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return nil, err
		}
		numbers = append(numbers, uint32(n))
	}
	if int(numbers[0]) == os.Geteuid() {
		return nil, nil
	}
	return &syscall.Credential{Uid: numbers[0], Gid: numbers[1], Groups: numbers[2:]}, nil
}

// one runs the program for one node.
func (p *program) one(ctx context.Context, id string) (Endpoint, error) {
	out, message, err := p.run(ctx, []string{id}, nil, mostSaid)
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 1 && len(out) == 0 && message == "" {
		return Endpoint{}, ErrNotMine
	}
	if err != nil {
		return Endpoint{}, p.failed(err, message)
	}
	return oneAnswer(out)
}

// all runs the program for all nodes. When it fails, the lines that it had finished count all the same.
func (p *program) all(ctx context.Context, ids []string) (Answers, error) {
	stdin := []byte(strings.Join(ids, "\n") + "\n")
	out, message, err := p.run(ctx, nil, stdin, mostSaid+mostSaidEach*len(ids))
	if err != nil {
		out = out[:bytes.LastIndexByte(out, '\n')+1]
		err = p.failed(err, message)
	}
	said := newSaidBy(ids)
	said.lines(out)
	return said.answers, err
}

func (p *program) failed(err error, message string) error {
	if message != "" {
		return fmt.Errorf("%s: %w: %.200q", p.argv[0], err, message)
	}
	return fmt.Errorf("%s: %w", p.argv[0], err)
}

var errTooMuch = errors.New("it says too much")

// run runs the program until it ends, ctx ends, or it has written more than most bytes; nothing of its process group is
// left then. Message is what it has to say on standard error.
func (p *program) run(ctx context.Context, args []string, stdin []byte, most int) (out []byte, message string, err error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	cmd := exec.Command(p.argv[0], append(p.argv[1:len(p.argv):len(p.argv)], args...)...)
	cmd.Env, cmd.Dir = []string{programPath}, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: p.as}
	if stdin != nil {
		cmd.Stdin = bytes.NewReader(stdin)
	}
	stdout := &head{most: most, more: func() { stop(errTooMuch) }}
	stderr := &head{most: 1024}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.WaitDelay = 100 * time.Millisecond // for a child that has left the group and keeps the output open
	if err := cmd.Start(); err != nil {
		return nil, "", err
	}
	err = waitGroup(ctx, cmd)
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	} else if errors.Is(err, exec.ErrWaitDelay) {
		err = nil
	}
	return stdout.kept.Bytes(), strings.TrimSpace(stderr.kept.String()), err
}

// waitGroup waits for a program, and kills its process group when ctx ends, or when the program has ended and left
// something behind. All of that is done before its end is taken notice of, for after that its number, which is the
// group's too, may be a stranger's.
func waitGroup(ctx context.Context, cmd *exec.Cmd) error {
	kill := func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	killed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { kill(); close(killed) })
	for {
		err := unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if !stop() {
		<-killed
	}
	kill()
	return cmd.Wait()
}

// head keeps the first bytes that are written to it. The buffer is no embedded one: its ReadFrom would take all.
type head struct {
	kept bytes.Buffer
	most int
	more func() // called when there are more; nil: nobody cares
}

func (h *head) Write(b []byte) (int, error) {
	keep := min(len(b), h.most-h.kept.Len())
	h.kept.Write(b[:keep])
	if keep < len(b) && h.more != nil {
		h.more()
	}
	return len(b), nil
}
