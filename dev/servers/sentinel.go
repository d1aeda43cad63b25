package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// SentinelOptions say what Sentinels watch, and where.
type SentinelOptions struct {
	Dir       string // required; every server has a folder below it
	Sentinels int    // default 3
	Args      []string
	// SentinelConf is added to each Sentinel's configuration.
	SentinelConf []string
	TLS          *Certificates
}

// SentinelMaster is the name by which the Sentinels know their master.
const SentinelMaster = "bazbeans"

// patience is what servers that watch one another have with one that gives no
// answer, until a test wants it otherwise.
const patience = time.Minute

// Sentinels are a Redis with one replica, and the Sentinels that watch them.
// They are patient, for a busy machine is no fault of Redis: who wants a master
// replaced that does not answer says so with DownAfter.
type Sentinels struct {
	Servers   []*Redis // the first was the master at the start
	Sentinels []*Redis
}

// StartSentinels returns when the replica has the master's data and every
// Sentinel knows all the others.
func StartSentinels(ctx context.Context, opts SentinelOptions) (*Sentinels, error) {
	if opts.Sentinels == 0 {
		opts.Sentinels = 3
	}
	s := &Sentinels{}
	if err := s.start(ctx, opts); err != nil {
		return nil, errors.Join(err, s.Kill())
	}
	return s, nil
}

func (s *Sentinels) start(ctx context.Context, opts SentinelOptions) error {
	for i := range 2 {
		// Without a delay the replica would wait up to five seconds for other replicas that might come.
		args := append([]string{"--repl-diskless-sync-delay", "0"}, opts.Args...)
		if i > 0 {
			args = append(args, "--replicaof", "127.0.0.1 "+strconv.Itoa(s.Servers[0].port))
		}
		r, err := StartRedis(ctx, RedisOptions{Dir: filepath.Join(opts.Dir, fmt.Sprintf("redis%d", i+1)), Args: args, TLS: opts.TLS})
		if err != nil {
			return err
		}
		s.Servers = append(s.Servers, r)
	}
	for i := range opts.Sentinels {
		r, err := startSentinel(ctx, filepath.Join(opts.Dir, fmt.Sprintf("sentinel%d", i+1)), s.Servers[0].port, opts)
		if err != nil {
			return err
		}
		s.Sentinels = append(s.Sentinels, r)
	}
	others := fmt.Sprintf("num-other-sentinels\n%d\n", opts.Sentinels-1)
	for _, r := range s.Sentinels {
		if err := r.proc.waitReady(ctx, func() error {
			said, err := r.Do("SENTINEL", "MASTER", SentinelMaster)
			if err == nil && !(strings.Contains(said, others) && strings.Contains(said, "num-slaves\n1\n")) {
				err = fmt.Errorf("does not know all yet: %s", said)
			}
			return err
		}); err != nil {
			return fmt.Errorf("start sentinel: %w; its log ends:\n%s", err, r.LogTail())
		}
	}
	return nil
}

// startSentinel starts one: a redis-server by another name, which wants a
// configuration file that it may write to.
func startSentinel(ctx context.Context, dir string, master int, opts SentinelOptions) (*Redis, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("start sentinel: %w", err)
	}
	conf := filepath.Join(dir, "sentinel.conf")
	lines := append([]string{
		fmt.Sprintf("sentinel monitor %s 127.0.0.1 %d %d", SentinelMaster, master, opts.Sentinels/2+1),
		fmt.Sprintf("sentinel down-after-milliseconds %s %d", SentinelMaster, patience.Milliseconds()),
		"sentinel failover-timeout " + SentinelMaster + " 3000",
	}, opts.SentinelConf...)
	if err := os.WriteFile(conf, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		return nil, fmt.Errorf("start sentinel: %w", err)
	}
	binary, err := lookBinary("", "redis-server", "redis-server")
	if err != nil {
		return nil, fmt.Errorf("start sentinel: %w", err)
	}
	port, err := FreePort()
	if err != nil {
		return nil, fmt.Errorf("start sentinel: %w", err)
	}
	r := &Redis{dir: dir, port: port, tls: opts.TLS, argv: []string{binary, conf, "--sentinel", "--bind", "127.0.0.1", "--port", strconv.Itoa(port), "--dir", dir}}
	if r.tls != nil {
		r.argv = append(r.argv, r.tls.redisArgs(port)...)
	}
	return r, r.start(ctx)
}

// DownAfter is for how long a master may give no answer before it is replaced,
// from now on. At the start it is a minute.
func (s *Sentinels) DownAfter(d time.Duration) error {
	for _, r := range s.Sentinels {
		if _, err := r.Do("SENTINEL", "SET", SentinelMaster, "down-after-milliseconds", millis(d)); err != nil {
			return fmt.Errorf("set down-after of sentinel %s: %w", r.Addr(), err)
		}
	}
	return nil
}

// Master is the server that the Sentinels take for the master now.
func (s *Sentinels) Master() (*Redis, error) {
	var errs []error
	for _, sentinel := range s.Sentinels {
		addr, err := sentinel.Do("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SentinelMaster)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, r := range s.Servers {
			if addr == "127.0.0.1\n"+strconv.Itoa(r.port) {
				return r, nil
			}
		}
	}
	return nil, errors.Join(append(errs, errors.New("no sentinel names a master"))...)
}

// Addrs is host:port of each Sentinel.
func (s *Sentinels) Addrs() (addrs []string) {
	for _, r := range s.Sentinels {
		addrs = append(addrs, r.Addr())
	}
	return addrs
}

// Kill ends them all at once, the Sentinels first.
func (s *Sentinels) Kill() error {
	return errors.Join(killAll(s.Sentinels), killAll(s.Servers))
}

// LogTail returns the last lines of every server's log.
func (s *Sentinels) LogTail() string { return logTails(s.Servers) + logTails(s.Sentinels) }
