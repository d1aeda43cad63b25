package ctl

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/user"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/pool"
)

// session is one run of bbctl: its global flags, where it prints, and the pool, opened when a verb first needs it.
type session struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	width          int  // of the terminal in cells; 0: stdout is none
	colour         bool // stdout is a terminal that wants it
	now            func() time.Time
	root           *cobra.Command

	redisURL string
	config   string
	context  string
	timeout  time.Duration
	output   format
	as       string
	key      string // file of the key that signs commands
	parallel int    // of the config, 0: not said

	pool *pool.Pool
	site string // the context in use, "" for none
}

func newSession(stdin io.Reader, stdout, stderr io.Writer) *session {
	s := &session{stdin: stdin, stdout: stdout, stderr: stderr, now: time.Now}
	if f, ok := stdout.(*os.File); ok && cli.IsTerminal(f) {
		s.width, _, _ = term.GetSize(int(f.Fd()))
		s.colour = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	}
	return s
}

// bind gives root the flags that every command has.
func (s *session) bind(root *cobra.Command) {
	s.root, s.output = root, asTable
	f := root.PersistentFlags()
	f.StringVar(&s.redisURL, "redis-url", "", "redis://, rediss:// or unix:// `URL`; beats the config (default "+pool.DefaultURL+")")
	f.StringVar(&s.config, "config", "", "YAML `file` with a redis: block or contexts (default ~/.config/bazbeans/config.yaml, if there)")
	f.StringVar(&s.context, "context", "", "`name` of the site in the config; see bbctl context")
	f.DurationVar(&s.timeout, "timeout", 10*time.Second, "most time to spend on Redis")
	f.VarP(&s.output, "output", "o", "table, wide, json or yaml")
	f.StringVar(&s.as, "as", operator(), "`name` of who does it, for the record (default user@host)")
	f.Lookup("as").DefValue = "" // the text says it
	complete(root, "output", formats...)
	completeFlag(root, "context", s.completeContexts)
}

// complete makes values the shell's completions of a flag.
func complete(cmd *cobra.Command, flag string, values ...string) {
	completeFlag(cmd, flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
}

func completeFlag(cmd *cobra.Command, flag string, with cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(flag, with); err != nil {
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
	set, err := s.settings()
	if err == nil {
		err = s.apply(set)
	}
	if err == nil && s.timeout <= 0 {
		err = fmt.Errorf("--timeout %s is no time to do anything in (write 10s or 1m)", s.timeout)
	}
	if err == nil {
		s.pool, err = pool.Open(set.Redis)
	}
	if err != nil {
		return &cli.Error{Code: cli.Usage, Err: err}
	}
	return nil
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
