package base

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// startWithin is how long the engine may take to answer; it loads its network's rules first.
const startWithin = 60 * time.Second

// Docker is a container engine that answered the docker command of this process
// and those that it starts.
type Docker struct {
	dir   string
	use   *os.File // locked as long as we use it
	alone *os.File // locked as long as we have it alone
}

// Engine returns the container engine of this machine. When none runs it starts
// one, with images and containers of its own (the machine's own containers are
// left where they are), which goes on until all that called Engine, in any
// process, have called Stop or ended. What killed processes have left in it,
// all but images, is removed. Nothing is started beside DOCKER_HOST.
func Engine(ctx context.Context) (*Docker, error) {
	cache, err := Cache()
	if err != nil {
		return nil, fmt.Errorf("find a container engine: %w", err)
	}
	d := &Docker{dir: filepath.Join(cache, "docker")}
	if err := os.MkdirAll(d.dir, 0o711); err != nil {
		return nil, fmt.Errorf("find a container engine: %w", err)
	}
	turn, err := d.turn(ctx)
	if err != nil {
		return nil, err
	}
	defer turn.Close()
	if err := ping(ctx); err != nil {
		if err := d.start(ctx, err); err != nil {
			return nil, err
		}
	}
	d.use, err = os.OpenFile(filepath.Join(d.dir, "users.lock"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	if syscall.Flock(int(d.use.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil && d.pid() != 0 { // ours, and nobody uses it
		if err := sweep(ctx); err != nil {
			d.use.Close()
			return nil, fmt.Errorf("remove what a killed process left in the container engine: %w", err)
		}
	}
	return d, syscall.Flock(int(d.use.Fd()), syscall.LOCK_SH) // nobody keeps it from us: it's our turn
}

// Alone waits until no other process is alone with this engine, and then is
// until Stop. It is for those who give containers names, or networks addresses,
// that another process may give at the same time.
func (d *Docker) Alone(ctx context.Context) (err error) {
	d.alone, err = acquire(ctx, filepath.Join(d.dir, "alone.lock"))
	if err != nil {
		return fmt.Errorf("have the container engine alone: %w", err)
	}
	return nil
}

// sweep removes all containers, volumes and networks.
func sweep(ctx context.Context) error {
	for _, all := range []struct{ list, remove string }{
		{"docker ps --all --quiet", "docker rm --force --volumes"},
		{"docker volume ls --quiet", "docker volume rm --force"},
		{"docker network ls --filter type=custom --quiet", "docker network rm"},
	} {
		argv := strings.Fields(all.list)
		out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).Output()
		if err != nil {
			return fmt.Errorf("%s: %w", all.list, err)
		}
		left := strings.Fields(string(out))
		if len(left) == 0 {
			continue
		}
		argv = append(strings.Fields(all.remove), left...)
		if out, err = exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", all.remove, err, tail(out))
		}
	}
	return nil
}

// Stop ends the engine if Engine started it, here or elsewhere, and nobody else
// uses it.
func (d *Docker) Stop() error {
	defer d.use.Close()
	if d.alone != nil {
		defer d.alone.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), startWithin) // a clean-up: the caller's context is often done
	defer cancel()
	turn, err := d.turn(ctx)
	if err != nil {
		return err
	}
	defer turn.Close()
	if err := syscall.Flock(int(d.use.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); errors.Is(err, syscall.EWOULDBLOCK) {
		return nil // the last one does it
	} else if err != nil {
		return fmt.Errorf("stop the container engine: %w", err)
	}
	pid := d.pid()
	if pid == 0 {
		return nil // not ours
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop the container engine, process %d: %w", pid, err)
	}
	for d.pid() != 0 {
		select {
		case <-ctx.Done():
			return fmt.Errorf("stop the container engine: process %d goes on; see %s", pid, d.log())
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

// turn makes sure that one process at a time starts or stops an engine.
func (d *Docker) turn(ctx context.Context) (*os.File, error) {
	lock, err := acquire(ctx, filepath.Join(d.dir, "turn.lock"))
	if err != nil {
		return nil, fmt.Errorf("find a container engine: %w", err)
	}
	return lock, nil
}

// ping returns nil when an engine answers.
func ping(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, "docker", "version", "--format", "{{.Server.Version}}").CombinedOutput()
	if err != nil {
		return fmt.Errorf("docker version: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// start starts dockerd and waits until it answers; why is what an engine that
// might run already answered.
func (d *Docker) start(ctx context.Context, why error) error {
	if os.Getenv("DOCKER_HOST") != "" || strings.Contains(why.Error(), "permission denied") {
		return fmt.Errorf("the container engine does not answer: %w", why)
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("no container engine runs, and only root can start one: %w", why)
	}
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	for d.pid() != 0 { // it is about to end, and who told it so was killed before it had
		select {
		case <-ctx.Done():
			return fmt.Errorf("the container engine, process %d, does not answer: %w; see %s", d.pid(), why, d.log())
		case <-time.After(50 * time.Millisecond):
		}
		if why = ping(ctx); why == nil {
			return nil
		}
	}
	if err := forget(); err != nil {
		return fmt.Errorf("start a container engine: %w", err)
	}
	log, err := os.OpenFile(d.log(), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("start a container engine: %w", err)
	}
	defer log.Close()
	cmd := exec.Command("dockerd", "--data-root", d.data())
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // others may go on using it when we have ended
	if err := cmd.Start(); errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("no container engine runs, and none is installed (%w): run `tools/deps harness`", err)
	} else if err != nil {
		return fmt.Errorf("start a container engine: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	if err := os.WriteFile(d.pidFile(), []byte(strconv.Itoa(cmd.Process.Pid)), 0o644); err != nil {
		return errors.Join(fmt.Errorf("start a container engine: %w", err), cmd.Process.Signal(syscall.SIGTERM))
	}
	for {
		if why = ping(ctx); why == nil {
			return nil
		}
		select {
		case err := <-ended:
			text, _ := os.ReadFile(d.log())
			return fmt.Errorf("start a container engine: dockerd ended (%v); its log ends:\n%s", err, tail(text))
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("start a container engine: %w: %w; see %s", context.Cause(ctx), why, d.log()), cmd.Process.Signal(syscall.SIGTERM))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// forget removes the pid files of an engine that was killed. When another
// process has such a number by now, dockerd takes it for an engine that runs.
func forget() error {
	for path, program := range map[string]string{"/var/run/docker.pid": "dockerd", "/var/run/docker/containerd/containerd.pid": "containerd"} {
		pid, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		} else if err != nil {
			return err
		}
		name, _ := os.ReadFile(filepath.Join("/proc", strings.TrimSpace(string(pid)), "comm"))
		if strings.TrimSpace(string(name)) == program {
			continue
		}
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return nil
}

// pid is the process of the engine that we, or another process like us, have
// started; 0: there is none.
func (d *Docker) pid() int {
	text, _ := os.ReadFile(d.pidFile())
	pid, err := strconv.Atoi(string(text))
	if err != nil {
		return 0
	}
	// The number may be a stranger's by now.
	title, _ := os.ReadFile(filepath.Join("/proc", string(text), "cmdline"))
	if !strings.HasPrefix(string(title), "dockerd\x00") || !strings.Contains(string(title), d.data()) {
		return 0
	}
	return pid
}

func (d *Docker) data() string    { return filepath.Join(d.dir, "data") }
func (d *Docker) log() string     { return filepath.Join(d.dir, "dockerd.log") }
func (d *Docker) pidFile() string { return filepath.Join(d.dir, "dockerd.pid") }
