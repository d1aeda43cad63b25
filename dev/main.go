package dev

import (
	"context"
	"fmt"
	"io"
	"os/signal"
	"syscall"

	"github.com/redis/go-redis/v9/logging"
	"github.com/spf13/pflag"

	"github.com/bazbeans/bazbeans/cli"
)

const usage = `bbdev runs a whole small site in the foreground: an embedded Redis, a real Nginx under its own prefix, sample
applications with their agents, lbd, and clients. The machine's own Nginx and Redis are not touched; the end
(Ctrl-C) leaves nothing behind.

  bbdev [flags]             on a terminal: a live picture; else: a line for each change
  bbdev --smoke [flags]     plays a story by itself (freeze, unfreeze, kill a node), prints figures, exits
  bbdev version

On a terminal the keys 1 to 9 kill that node, or start it again; q quits.
Exit codes: 0 done (with --smoke: every step was seen, and no request failed), 1 failed, 2 wrong usage or config.
`

const name = "bbdev"

// settings are what the binary is told, by flags or a file.
type settings struct {
	Nodes      int     `yaml:"nodes"`
	RedisPort  int     `yaml:"redis_port"` // this and the next three: 0 is the usual one, or the next that is free
	HTTPPort   int     `yaml:"http_port"`
	StatusPort int     `yaml:"status_port"`
	NodePort   int     `yaml:"node_port"`
	Rate       float64 `yaml:"rate"`
	Posts      float64 `yaml:"posts"` // negative: 0.1, in the story 0
	Dir        string  `yaml:"dir"`
	Smoke      bool    `yaml:"smoke"`
	Log        bool    `yaml:"log"`
}

func defaults() settings { return settings{Nodes: 3, Rate: 200, Posts: -1} }

func bind(fs *pflag.FlagSet, s *settings) {
	fs.IntVar(&s.Nodes, "nodes", s.Nodes, "`number` of nodes, 1 to 50")
	fs.IntVar(&s.RedisPort, "redis-port", s.RedisPort, "`port` of Redis (default 6379, or the next free one)")
	fs.IntVar(&s.HTTPPort, "http-port", s.HTTPPort, "`port` of Nginx (default 8080, or the next free one)")
	fs.IntVar(&s.StatusPort, "status-port", s.StatusPort, "`port` of lbd's status (default 9180, or the next free one)")
	fs.IntVar(&s.NodePort, "node-port", s.NodePort, "`port` of the applications (default 8000, or the next free one)")
	fs.Float64Var(&s.Rate, "rate", s.Rate, "requests a second that the clients send")
	fs.Float64Var(&s.Posts, "posts", s.Posts, "share of POST in them, 0 to 1 (default 0.1; with --smoke 0, since nobody may repeat a POST "+
		"whose connection breaks, and a reload of Nginx before 1.27.4 breaks idle ones)")
	fs.Lookup("posts").DefValue = "0" // the text says it
	fs.StringVar(&s.Dir, "dir", s.Dir, "`folder` for all files, which stays (default: a temporary one that goes)")
	fs.BoolVar(&s.Smoke, "smoke", s.Smoke, "play the story, print figures, exit")
	fs.BoolVar(&s.Log, "log", s.Log, "logs of lbd and the agents to the terminal, in place of the picture")
}

// Main is the binary bbdev; it returns its exit code.
func Main(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	logging.Disable() // go-redis logs to stderr by itself
	set, common, flags, err := cli.ParseFlags(name, args, defaults, bind)
	word := flags.Arg(0)
	switch {
	case err != nil:
		return cli.Report(stderr, name, err)
	case common.Help || word == "help":
		cli.PrintUsage(stdout, usage, flags)
		return cli.Done
	case common.Version || word == "version":
		fmt.Fprintln(stdout, name, cli.Version())
		return cli.Done
	case flags.NArg() > 0:
		return cli.Report(stderr, name, cli.Usagef("unknown command %q (see %s --help)", flags.Args(), name))
	}
	// A terminal that is closed is a reason to end in order, too.
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP)
	defer stop()
	return cli.Report(stderr, name, run(ctx, set, common, stdin, stdout, stderr))
}
