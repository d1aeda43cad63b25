package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// project is one run of compose.yml: containers, networks and volumes of a name of their own.
type project struct {
	name    string
	command []string // `docker compose`, or docker-compose
	file    string   // compose.yml
	env     []string
}

// composeCommand is what this machine has of the two.
func composeCommand(ctx context.Context) ([]string, error) {
	if exec.CommandContext(ctx, "docker", "compose", "version").Run() == nil {
		return []string{"docker", "compose"}, nil
	}
	if exec.CommandContext(ctx, "docker-compose", "version").Run() == nil {
		return []string{"docker-compose"}, nil
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return nil, errors.New("neither `docker compose` nor docker-compose works here: run `tools/deps harness`, or play the cases without Docker: make harness LOCAL=1")
}

// compose runs a compose command to its end and returns what it printed.
func (p *project) compose(ctx context.Context, args ...string) ([]byte, error) {
	argv := append(append([]string{}, p.command...), append([]string{"-p", p.name, "-f", p.file}, args...)...)
	return run(ctx, p.env, argv...)
}

// docker runs a docker command to its end and returns what it printed.
func docker(ctx context.Context, args ...string) ([]byte, error) {
	return run(ctx, nil, append([]string{"docker"}, args...)...)
}

// run starts a program in a process group of its own, so that ^C is for us alone and what it is at gets undone in order.
func run(ctx context.Context, env []string, argv ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return out.Bytes(), fmt.Errorf("%s: %w\n%s", strings.Join(argv, " "), err, bytes.TrimSpace(append(said.Bytes(), out.Bytes()...)))
	}
	return out.Bytes(), nil
}

// up starts the services and what they depend on.
func (p *project) up(ctx context.Context, services ...string) error {
	_, err := p.compose(ctx, append([]string{"up", "-d", "--no-build"}, services...)...)
	return err
}

// down removes all of the project. It is a clean-up, which a ^C does not cut short.
func (p *project) down() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	fmt.Fprintln(os.Stderr, "removing", p.name)
	_, err := p.compose(ctx, "--profile", "stories", "--profile", "cases", "down", "-v", "--remove-orphans", "-t", "1")
	return err
}

// containers are the ids of the project's containers that run, by service.
func (p *project) containers(ctx context.Context) (map[string]string, error) {
	out, err := docker(ctx, "ps", "--no-trunc", "--filter", "label=com.docker.compose.project="+p.name, "--format", `{{.Label "com.docker.compose.service"}} {{.ID}}`)
	ids := map[string]string{}
	for line := range strings.Lines(string(out)) {
		service, id, _ := strings.Cut(strings.TrimSpace(line), " ")
		ids[service] = id
	}
	return ids, err
}

// network is the full name of one of the project's networks.
func (p *project) network(name string) string { return p.name + "_" + name }
