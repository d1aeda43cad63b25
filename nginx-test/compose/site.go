package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/bazbeans/bazbeans/dev/load"
)

// soon bounds each wait for something that takes moments on a quiet machine.
const soon = time.Minute

// The nodes of the site.
var nodes = []string{"node1", "node2", "node3"}

// site is the project when it is up.
type site struct {
	*project
	ids map[string]string // of containers, by service
}

// open brings the site up and returns when its Nginx serves all nodes.
func (p *project) open(ctx context.Context) (*site, error) {
	if err := p.up(ctx); err != nil {
		return nil, err
	}
	containers, err := p.containers(ctx)
	if err != nil {
		return nil, err
	}
	s := &site{p, containers}
	return s, until(ctx, func() error {
		for _, service := range slices.Concat(nodes, []string{"nginx", "lbd", "redis", "client"}) {
			if s.ids[service] == "" {
				return fmt.Errorf("the container of %s has ended", service)
			}
		}
		seen, err := s.status(ctx)
		if err == nil && len(seen.serving()) != len(nodes) {
			err = fmt.Errorf("lbd sends to %q", seen.serving())
		}
		if err == nil {
			err = s.ready(ctx)
		}
		return err
	})
}

// exec runs a program of /bazbeans in the client's container.
func (s *site) exec(ctx context.Context, program string, args ...string) ([]byte, error) {
	return docker(ctx, append([]string{"exec", s.ids["client"], "/bazbeans/" + program}, args...)...)
}

// bbctl is the operator, who sits where the client does.
func (s *site) bbctl(ctx context.Context, args ...string) error {
	_, err := s.exec(ctx, "bbctl", append([]string{"--redis-url", "redis://redis:6379/0"}, args...)...)
	return err
}

// ready returns nil if lbd says that Nginx serves what is wanted.
func (s *site) ready(ctx context.Context) error {
	_, err := s.exec(ctx, "harness", "get", "http://nginx:9180/readyz")
	return err
}

// lbdStatus is what the stories need of lbd's /status.
type lbdStatus struct {
	Nodes  []struct{ ID, Address, State string }
	Engine struct{ Name string }
}

func (l lbdStatus) serving() (ids []string) {
	for _, n := range l.Nodes {
		if n.State == "active" {
			ids = append(ids, n.ID)
		}
	}
	return ids
}

func (l lbdStatus) address(id string) string {
	for _, n := range l.Nodes {
		if n.ID == id {
			return n.Address
		}
	}
	return ""
}

func (s *site) status(ctx context.Context) (l lbdStatus, err error) {
	out, err := s.exec(ctx, "harness", "get", "http://nginx:9180/status")
	if err != nil {
		return l, err
	}
	return l, json.Unmarshal(out, &l)
}

// traffic is a client that sends without a pause.
type traffic struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Scanner
	said   strings.Builder
}

func (s *site) send(ctx context.Context) (*traffic, error) {
	t := &traffic{cmd: exec.CommandContext(ctx, "docker", "exec", "-i", s.ids["client"], "/bazbeans/harness", "client", "http://nginx:8080/")}
	t.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // ^C is for us alone
	t.cmd.Stderr = &t.said
	var err error
	if t.stdin, err = t.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := t.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	t.stdout = bufio.NewScanner(out)
	return t, t.cmd.Start()
}

// counts are those so far.
func (t *traffic) counts() (c load.Counts, err error) {
	if _, err := io.WriteString(t.stdin, "\n"); err != nil {
		return c, fmt.Errorf("the client has ended: %w: %s", err, t.said.String())
	}
	return c, t.read(&c)
}

func (t *traffic) read(into any) error {
	if !t.stdout.Scan() {
		return fmt.Errorf("the client has ended: %v: %s", t.stdout.Err(), t.said.String())
	}
	return json.Unmarshal(t.stdout.Bytes(), into)
}

// stop ends the traffic and returns what it came to.
func (t *traffic) stop() (f figures, err error) {
	err = t.stdin.Close()
	if err == nil {
		err = t.read(&f)
	}
	return f, errors.Join(err, t.cmd.Wait())
}

// during returns what comes of the next n requests that are over.
func (t *traffic) during(ctx context.Context, n int64) (d load.Counts, err error) {
	before, err := t.counts()
	if err != nil {
		return d, err
	}
	return d, until(ctx, func() error {
		now, err := t.counts()
		d = now.Sub(before)
		if over := d.OK + d.Failed; err == nil && over < n {
			err = fmt.Errorf("%d of %d requests are over", over, n)
		}
		return err
	})
}

// until polls a condition until it returns nil, for as long as that may take.
func until(ctx context.Context, condition func() error) error {
	deadline := time.Now().Add(soon)
	for {
		err := condition()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not within %v: %w", soon, err)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
