package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// RedisOptions say which redis-server to run and where.
type RedisOptions struct {
	Binary string   // default: redis-server, from PATH
	Dir    string   // required; made if missing; data and redis.log live here
	Port   int      // on 127.0.0.1; 0: a free one
	Args   []string // added to the command line, and they win: "--appendonly", "yes"
	// TLS makes it speak TLS only, and want a client's certificate.
	TLS *Certificates
}

// Redis is a running redis-server. It keeps nothing across a restart unless
// its Args ask for it ("--appendonly", "yes", "--appendfsync", "always").
type Redis struct {
	argv []string
	dir  string
	port int
	bus  int // of a Cluster's node
	tls  *Certificates
	proc *process
}

// StartRedis starts a redis-server and returns when it answers PING. ctx
// bounds the start only; the server goes on until Stop or Kill. An error
// carries the end of the server's log.
func StartRedis(ctx context.Context, opts RedisOptions) (*Redis, error) {
	binary, err := lookBinary(opts.Binary, "redis-server", "redis-server")
	if err != nil {
		return nil, fmt.Errorf("start redis: %w", err)
	}
	if opts.Dir == "" {
		return nil, errors.New("start redis: no folder given")
	}
	if err := os.MkdirAll(opts.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("start redis: %w", err)
	}
	for tries := 3; ; tries-- {
		r := &Redis{dir: opts.Dir, port: opts.Port, tls: opts.TLS}
		if r.port == 0 {
			if r.port, err = FreePort(); err != nil {
				return nil, fmt.Errorf("start redis: %w", err)
			}
		}
		r.argv = []string{binary, "--bind", "127.0.0.1", "--port", strconv.Itoa(r.port),
			"--dir", opts.Dir, "--save", "", "--daemonize", "no"}
		if r.tls != nil {
			r.argv = append(r.argv, r.tls.redisArgs(r.port)...)
		}
		r.argv = append(r.argv, opts.Args...)
		err = r.start(ctx)
		if err == nil {
			return r, nil
		}
		// Another process may take a free port before redis does.
		if opts.Port != 0 || tries == 0 || !strings.Contains(err.Error(), "Address already in use") {
			return nil, err
		}
	}
}

// Addr is host:port, on loopback.
func (r *Redis) Addr() string { return Loopback(r.port) }

// Port is its port on 127.0.0.1.
func (r *Redis) Port() int { return r.port }

// URL is redis://host:port/0, or rediss:// with TLS.
func (r *Redis) URL() string {
	if r.tls != nil {
		return "rediss://" + r.Addr() + "/0"
	}
	return "redis://" + r.Addr() + "/0"
}

// Stop ends the server in order (SIGTERM) and waits for it. One that has
// ended before is no error.
func (r *Redis) Stop() error { return r.proc.stop(syscall.SIGTERM) }

// Kill ends the server at once (SIGKILL) and waits until it is gone.
func (r *Redis) Kill() error { return r.proc.kill() }

// Pause stops the server's process (SIGSTOP): its connections stay open and
// nothing answers until Resume.
func (r *Redis) Pause() error { return r.proc.signal(syscall.SIGSTOP) }

// Resume lets a paused server go on.
func (r *Redis) Resume() error { return r.proc.signal(syscall.SIGCONT) }

// Restart stops the server if it runs and starts it on the same port and in
// the same folder.
func (r *Redis) Restart(ctx context.Context) error {
	if err := r.Stop(); err != nil {
		return fmt.Errorf("restart redis: %w", err)
	}
	return r.start(ctx)
}

// LogTail returns the last lines the server wrote.
func (r *Redis) LogTail() string { return tail(r.log()) }

func (r *Redis) log() string { return filepath.Join(r.dir, "redis.log") }

func (r *Redis) start(ctx context.Context) error {
	proc, err := spawn(r.argv, r.dir, r.log(), syscall.SIGKILL)
	if err != nil {
		return fmt.Errorf("start redis: %w", err)
	}
	if err := proc.waitReady(ctx, func() error { return r.ping(proc.pid) }); err != nil {
		return fmt.Errorf("start redis on %s: %w; its log ends:\n%s", r.Addr(), err, r.LogTail())
	}
	r.proc = proc
	return nil
}

// ping asks for PONG, and for the process id: on a port that was taken already
// it is a stranger who answers. A server that wants a password first is ready
// too; one that still loads its data is not.
func (r *Redis) ping(pid int) error {
	switch answer, err := r.Do("PING"); {
	case err != nil && strings.HasPrefix(err.Error(), "NOAUTH"):
		return nil
	case err != nil:
		return err
	case answer != "PONG":
		return fmt.Errorf("answer to PING: %.80q", answer)
	}
	if info, err := r.Do("INFO", "server"); err != nil || !strings.Contains(info, fmt.Sprintf("\r\nprocess_id:%d\r\n", pid)) {
		return errors.New("another redis answers on this port")
	}
	return nil
}
