package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/bazbeans/bazbeans/pool"
)

// follower is the word that makes this program the one beside HAProxy; then come the stats socket, Redis's URL and the
// prefix of the pool's keys. It is a process of its own, as lbd is, so that what it uses can be told.
const follower = "follow-for-haproxy"

// following is what it prints once it hears events and HAProxy has the pool's state.
const following = "following the pool"

// follow tells HAProxy of every freeze and unfreeze, until ctx ends.
func follow(ctx context.Context, socket, url, prefix string, out io.Writer) error {
	p, err := pool.Open(pool.Config{URL: url, KeyPrefix: prefix})
	if err != nil {
		return err
	}
	defer p.Close()
	err = p.Watch(ctx, func(w pool.Wake) {
		var err error
		switch {
		case w.Subscribed:
			if err = followAll(ctx, p, socket); err == nil {
				fmt.Fprintln(out, following)
			}
		case w.Event != nil && w.Event.Kind == pool.NodeFrozen:
			err = setState(socket, w.Event.NodeID, "drain")
		case w.Event != nil && w.Event.Kind == pool.NodeUnfrozen:
			err = setState(socket, w.Event.NodeID, "ready")
		case w.Deaf != nil:
			err = w.Deaf
		}
		if err != nil {
			fmt.Fprintln(out, err)
		}
	})
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// followAll makes up for events that were missed.
func followAll(ctx context.Context, p *pool.Pool, socket string) error {
	look, err := p.Snapshot(ctx)
	if err != nil {
		return err
	}
	for _, n := range look.Nodes {
		state := "drain"
		if n.Wanted() {
			state = "ready"
		}
		if err := setState(socket, n.ID, state); err != nil {
			return err
		}
	}
	return nil
}

// setState takes a server out gently (drain) or puts it back (ready).
func setState(socket, node, state string) error {
	said, err := tell(socket, fmt.Sprintf("set server app_backend/%s state %s", node, state))
	if err == nil && said != "" {
		err = errors.New(said)
	}
	if err != nil {
		return fmt.Errorf("set server %s: %w", node, err)
	}
	return nil
}

// tell gives HAProxy one command and returns its answer: a connection of its own for each is what the socket is made
// for, and costs some 50 µs.
func tell(socket, command string) (string, error) {
	conn, err := net.DialTimeout("unix", socket, time.Second)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(conn, command+"\n"); err != nil {
		return "", err
	}
	text, err := io.ReadAll(conn)
	return strings.TrimSpace(string(text)), err
}
