package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
	"time"

	"github.com/bazbeans/bazbeans/pool"
)

// program is one run of a program on behalf of a command.
type program struct {
	argv  []string // the first is a name in path, or an absolute path
	path  []string // also PATH of its environment; nil: searchPath
	dir   string
	as    *runAs // nil: as the agent
	stdin io.Reader
	limit time.Duration
}

// run runs the program in a process group of its own, which is killed whole at the end of its time and of ctx. What left
// the group (setsid, a daemon) lives on. Its environment is PATH, HOME, USER, LOGNAME and LANG, its input empty unless
// there is one, and of its output the head and tail are kept while it comes. The result is not nil unless the program
// could not be started: then the error is a *Refusal.
func (p program) run(ctx context.Context) (*Ran, error) {
	if p.path == nil {
		p.path = searchPath
	}
	file, err := findProgram(p.argv[0], p.path)
	if err != nil {
		return nil, refuse("%v", err)
	}
	ctx, cancel := context.WithTimeout(ctx, p.limit)
	defer cancel()
	cmd := child(ctx, p.path, append([]string{file}, p.argv[1:]...))
	cmd.Dir, cmd.Stdin = p.dir, p.stdin
	who := p.as
	if who != nil {
		cmd.SysProcAttr.Credential = &who.cred
	} else {
		who = self()
	}
	cmd.Env = append(cmd.Env, "HOME="+who.home, "USER="+who.name, "LOGNAME="+who.name, "LANG=C.UTF-8")
	var stdout, stderr pool.Clip
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = runGroup(cmd)
	if cmd.Process == nil {
		return nil, refuse("start %s: %v", file, err)
	}
	ran := &Ran{ExitCode: -1, Stdout: stdout.String(), Stderr: stderr.String()}
	var exit *exec.ExitError
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded) && err != nil:
		return ran, fmt.Errorf("not at its end after %v, so it was killed with its process group: %w", p.limit, context.DeadlineExceeded)
	case ctx.Err() != nil && err != nil:
		return ran, fmt.Errorf("killed with its process group: %w", ctx.Err())
	case errors.As(err, &exit):
		if s, ok := exit.Sys().(syscall.WaitStatus); ok && s.Signaled() {
			return ran, fmt.Errorf("killed by %v", s.Signal())
		}
		ran.ExitCode = exit.ExitCode()
		return ran, fmt.Errorf("exit code %d", ran.ExitCode)
	case err != nil && !errors.Is(err, exec.ErrWaitDelay): // somebody who left its group holds the output open
		return ran, err
	}
	ran.ExitCode = 0
	return ran, nil
}

// runAs is a user that programs run as.
type runAs struct {
	name, home string
	cred       syscall.Credential
}

// lookupUser returns nil for "", and for the user that the agent is already.
func lookupUser(name string) (*runAs, error) {
	if name == "" {
		return nil, nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return nil, fmt.Errorf("user: %w", err)
	}
	if u.Uid == strconv.Itoa(os.Getuid()) {
		return nil, nil
	}
	if os.Getuid() != 0 {
		return nil, fmt.Errorf("user: only root can run programs as %s", name)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	ids, err3 := u.GroupIds()
	if err := errors.Join(err, err2, err3); err != nil {
		return nil, fmt.Errorf("user %s: %w", name, err)
	}
	r := &runAs{name: u.Username, home: u.HomeDir, cred: syscall.Credential{Uid: uint32(uid), Gid: uint32(gid), Groups: []uint32{}}}
	for _, id := range ids {
		g, err := strconv.ParseUint(id, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("user %s: %w", name, err)
		}
		r.cred.Groups = append(r.cred.Groups, uint32(g))
	}
	return r, nil
}

// self is the agent's own user, of which a container may know no name.
func self() *runAs {
	u, err := user.Current()
	if err != nil {
		return &runAs{name: strconv.Itoa(os.Getuid()), home: "/"}
	}
	return &runAs{name: u.Username, home: u.HomeDir}
}
