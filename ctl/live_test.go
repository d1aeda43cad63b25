package ctl

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
	"github.com/bazbeans/bazbeans/pool"
)

// at is a bbctl at a terminal, which is all of its input and output.
type at struct {
	*running
	keys *os.File
	seen screen
}

func (s *site) at(width uint16, args ...string) *at {
	s.t.Helper()
	var copier sync.WaitGroup
	s.t.Cleanup(copier.Wait) // after the terminal was closed
	keys, tty := terminal(s.t, width)
	ctx, cancel := context.WithCancel(s.t.Context())
	a := &at{running: &running{interrupt: cancel, code: make(chan int, 1)}, keys: keys}
	copier.Go(func() { _, _ = io.Copy(&a.seen, keys) }) // until the terminal is closed
	go func() { a.code <- Main(ctx, append([]string{"--redis-url", s.url}, args...), tty, tty, tty) }()
	s.t.Cleanup(cancel)
	return a
}

func (a *at) types(t *testing.T, text string) {
	t.Helper()
	if _, err := a.keys.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

func TestAskedAtATerminal(t *testing.T) {
	t.Setenv("TERM", "xterm")
	s := newSite(t)
	s.node("web1", true)
	s.node("web2", true)
	a := s.at(80, "freeze", "web*")
	a.seen.shows(t, "freeze 2 nodes: web1 web2\r\nfreeze 2 nodes? [y/N] ")
	a.types(t, "\n")
	a.wantEnd(t, 1)
	a.seen.shows(t, "bbctl: not confirmed, nothing was done")
	a = s.at(80, "freeze", "web*")
	a.seen.shows(t, "[y/N] ")
	a.types(t, "y\n")
	a.wantEnd(t, 0)
	a = s.at(80, "freeze", "--all")
	a.seen.shows(t, "[y/N] ")
	a.interrupt()
	a.wantEnd(t, 1)
	a.types(t, "\n") // ends the read that nothing interrupts
}

// Progress is painted in place, and is gone when all is done.
func TestLiveProgress(t *testing.T) {
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "1")
	s := newSite(t)
	s.node("web1", true)
	goOn := make(chan bool)
	s.agent("web1", func(c pool.Command) *pool.Result { <-goOn; return succeed(c) })
	a := s.at(60, "restart", "web1")
	a.seen.matches(t, `restart ···················· 0 of 1 node, \d+s\r\n  web1                 running, \d+s\r\n`)
	close(goOn)
	a.wantEnd(t, 0)
	a.seen.shows(t, "\x1b[2A\r\x1b[Jweb1: restart succeeded (")
	serverstest.Eventually(t, soon, func() error { // the terminal's other end is read a moment later
		if got := a.seen.String(); strings.Count(got, "\x1b[2A\r\x1b[J") != strings.Count(got, "restart ··") {
			return fmt.Errorf("a picture stays on the screen: %q", got)
		}
		return nil
	})
}

func TestWatch(t *testing.T) {
	t.Setenv("TERM", "xterm")
	s := newSite(t)
	for i := range 40 {
		s.node(fmt.Sprintf("web%d", i), i > 0)
	}
	a := s.at(80, "list-nodes", "--watch", "--sort", "state")
	a.seen.shows(t, "… and 19 more (narrow it: --state, --dc, --label; trouble first: --sort state)")
	got := a.seen.String()
	if !strings.HasPrefix(got, "\x1b[?1049h") || !strings.Contains(got, "40 nodes: 39 active, 1 inactive") || strings.Index(got, "web0 ") > strings.Index(got, "web1 ") {
		t.Errorf("%q", got)
	}
	s.stop()
	a.seen.shows(t, "connection refused")
	a.interrupt()
	a.wantEnd(t, 0)
	a.seen.shows(t, "\x1b[?1049l")
	if r := s.run("list-nodes", "--watch"); r.code != 2 {
		t.Errorf("%+v", r)
	}
}

func TestCutPainted(t *testing.T) {
	for in, want := range map[string]string{
		"abcdef":                     "abcd",
		"ab\x1b[31mcdef\x1b[0mg":     "ab\x1b[31mcd\x1b[0m",
		"\x1b[31ma\x1b[0mbcde":       "\x1b[31ma\x1b[0mbcd",
		"日本語":                        "日本",
		"ab":                         "ab",
		"a\x1b[31mb\x1b[0mc\x1b[2md": "a\x1b[31mb\x1b[0mc\x1b[2md",
	} {
		if got := cutPainted(in, 4); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// 500 nodes on a usual terminal: no line is wider, and the time to draw them is no topic.
func TestManyNodes(t *testing.T) {
	s := &session{width: 80, now: time.Now, output: asTable}
	f := &fleet{snap: &pool.Snapshot{}}
	for i := range 500 {
		f.snap.Nodes = append(f.snap.Nodes, pool.Node{ID: fmt.Sprintf("dc1_a-rather-long-name-%d.example.org", i), Weight: 1, DataCenter: "dc1", Active: true, Alive: true, Agent: "1"})
	}
	got := s.frame(f, listing{sort: "name"}, nil, 30)
	lines := strings.Split(got, "\r\n\x1b[K")
	for _, l := range lines {
		if cells(strings.TrimPrefix(l, "\x1b[H\x1b[K")) > 80 {
			t.Errorf("%q", l)
		}
	}
	if len(lines) != 30 || !strings.Contains(lines[0], "500 nodes: 500 active") || !strings.Contains(lines[29], "… and 473 more") {
		t.Errorf("%d lines: %q … %q", len(lines), lines[0], lines[len(lines)-1])
	}
}
