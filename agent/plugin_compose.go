package agent

import (
	"context"
	"strconv"
	"time"

	"github.com/bazbeans/bazbeans/pool"
)

// Compose is a Plugin for an application that Docker Compose runs: start, stop, restart, update (pull, then up), pull,
// logs (argument lines) and status. It uses `docker compose` where docker has that, else docker-compose.
type Compose struct {
	Dir     string        // of the application; where compose runs
	File    string        // the compose file, below Dir unless it is absolute; default docker-compose.yml
	Timeout time.Duration // of one command; default 10 minutes

	path []string // where docker is looked for; nil: searchPath
}

func (p *Compose) String() string { return "docker compose (" + p.file() + ")" }

func (p *Compose) file() string { return below(p.Dir, or(p.File, "docker-compose.yml")) }

// Handlers returns the commands.
func (p *Compose) Handlers() map[string]Handler {
	fixed := func(runs ...[]string) Handler {
		return func(ctx context.Context, _ pool.Command) (any, error) { return p.run(ctx, runs...) }
	}
	return map[string]Handler{
		"start":   fixed([]string{"up", "--detach"}),
		"stop":    fixed([]string{"stop"}),
		"restart": fixed([]string{"restart"}),
		"update":  fixed([]string{"pull"}, []string{"up", "--detach", "--remove-orphans"}),
		"pull":    fixed([]string{"pull"}),
		"status":  fixed([]string{"ps"}),
		"logs": func(ctx context.Context, c pool.Command) (any, error) {
			n, err := linesAsked(c)
			if err != nil {
				return nil, err
			}
			return p.run(ctx, []string{"logs", "--no-color", "--tail", strconv.Itoa(n)})
		},
	}
}

func (p *Compose) run(ctx context.Context, verbs ...[]string) (any, error) {
	if !exists(p.file()) {
		return nil, refuse("there is no compose file %s", p.file())
	}
	base, err := composeProgram(ctx, p.path)
	if err != nil {
		return nil, err
	}
	var runs [][]string
	for _, v := range verbs {
		argv := append(append([]string{}, base...), "--file", p.file())
		runs = append(runs, append(argv, v...))
	}
	return sequence(ctx, p.path, p.Dir, p.Timeout, runs...)
}

// composeProgram finds out how compose is called here, each time: it may be installed or upgraded meanwhile.
func composeProgram(ctx context.Context, path []string) ([]string, error) {
	ask := func(argv ...string) error {
		_, err := program{argv: append(argv, "version"), path: path, dir: "/", limit: 10 * time.Second}.run(ctx)
		return err
	}
	err := ask("docker", "compose")
	if err == nil {
		return []string{"docker", "compose"}, nil
	}
	if ask("docker-compose") == nil {
		return []string{"docker-compose"}, nil
	}
	return nil, refuse("this node has neither docker compose nor docker-compose: docker compose version: %v", err)
}
