package ctl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/conf"
	"github.com/bazbeans/bazbeans/pool"
)

// session is one run of bbctl: its global flags, where it prints, and the pool, opened when a verb first needs it.
type session struct {
	stdout, stderr io.Writer
	width          int  // of the terminal in cells; 0: stdout is none
	colour         bool // stdout is a terminal that wants it
	now            func() time.Time

	redisURL string
	config   string
	timeout  time.Duration
	output   format
	as       string

	pool *pool.Pool
}

// config is the file of bbctl.
type config struct {
	Redis pool.Config `yaml:"redis"`
}

func newSession(stdout, stderr io.Writer) *session {
	s := &session{stdout: stdout, stderr: stderr, now: time.Now}
	if f, ok := stdout.(*os.File); ok && cli.IsTerminal(f) {
		s.width, _, _ = term.GetSize(int(f.Fd()))
		s.colour = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	}
	return s
}

// bind gives root the flags that every command has.
func (s *session) bind(root *cobra.Command) {
	s.output = asTable
	f := root.PersistentFlags()
	f.StringVar(&s.redisURL, "redis-url", "", "redis://, rediss:// or unix:// `URL`; beats the config (default "+pool.DefaultURL+")")
	f.StringVar(&s.config, "config", "", "YAML `file` with a redis: block (default ~/.config/bazbeans/config.yaml, if there)")
	f.DurationVar(&s.timeout, "timeout", 10*time.Second, "most time to spend on Redis")
	f.VarP(&s.output, "output", "o", "table, wide, json or yaml")
	f.StringVar(&s.as, "as", operator(), "`name` of who does it, for the record")
	complete(root, "output", formats...)
}

// complete makes values the shell's completions of a flag.
func complete(cmd *cobra.Command, flag string, values ...string) {
	err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	if err != nil {
		panic(err) // the flag does not exist: a mistake of ours, seen at the first start
	}
}

// operator names who is at the keyboard: user@host.
func operator() string {
	name := fmt.Sprintf("uid%d", os.Getuid())
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if host, err := os.Hostname(); err == nil {
		name += "@" + host
	}
	return name
}

// redis runs fn with the pool, within --timeout.
func (s *session) redis(ctx context.Context, fn func(context.Context, *pool.Pool) error) error {
	if err := s.open(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return fn(ctx, s.pool)
}

// open opens the pool; its errors are those of flags and config.
func (s *session) open() error {
	if s.pool != nil {
		return nil
	}
	if s.timeout <= 0 {
		return cli.Usagef("--timeout %s is no time to do anything in (write 10s or 1m)", s.timeout)
	}
	cfg, err := s.load()
	if err == nil {
		s.pool, err = pool.Open(cfg.Redis)
	}
	if err != nil {
		return &cli.Error{Code: cli.Usage, Err: err}
	}
	return nil
}

// load reads the config file: the one named, else the one in the user's folder if there is one.
func (s *session) load() (config, error) {
	var cfg config
	path := s.config
	if path == "" {
		path = defaultConfig()
	}
	if path != "" {
		err := conf.Load(path, &cfg)
		if err != nil && (s.config != "" || !errors.Is(err, os.ErrNotExist)) {
			return cfg, err
		}
	}
	if s.redisURL != "" {
		// The flag names one Redis; Sentinels or a cluster of the file would beat it.
		cfg.Redis.URL, cfg.Redis.Sentinel, cfg.Redis.Cluster = s.redisURL, pool.Sentinel{}, pool.Cluster{}
	}
	return cfg, nil
}

// defaultConfig is "" when there is no home to look in.
func defaultConfig() string {
	dir := os.Getenv("XDG_CONFIG_HOME")
	if !filepath.IsAbs(dir) { // the XDG base directory specification: a relative path is ignored
		home := os.Getenv("HOME")
		if home == "" {
			return ""
		}
		dir = filepath.Join(home, ".config")
	}
	return filepath.Join(dir, "bazbeans", "config.yaml")
}

func (s *session) close() {
	if s.pool != nil {
		_ = s.pool.Close() // the connections go with the process anyway
	}
}

// say prints a line of news to stderr, so that stdout holds nothing but the answer.
func (s *session) say(format string, args ...any) {
	fmt.Fprintf(s.stderr, "bbctl: "+format+"\n", args...)
}

// onIDs makes a RunE of what a verb does to the ids on its command line.
func onIDs(do func(ctx context.Context, ids []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		ids, err := checkIDs(cmd, args)
		if err != nil {
			return err
		}
		return do(cmd.Context(), ids)
	}
}

// checkIDs refuses what can be no node's id before anything is done, and drops repetitions.
func checkIDs(cmd *cobra.Command, ids []string) ([]string, error) {
	var unique []string
	for _, id := range ids {
		if err := pool.CheckID(id); err != nil {
			return nil, usagef(cmd, "%w", err)
		}
		if !slices.Contains(unique, id) {
			unique = append(unique, id)
		}
	}
	return unique, nil
}
