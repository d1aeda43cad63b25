package dev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/dev/load"
)

// run runs a site as the settings say, until ctx ends or the story is over, and leaves nothing behind.
func run(ctx context.Context, set settings, common cli.Common, stdin io.Reader, stdout, stderr io.Writer) (err error) {
	if set.Posts < 0 {
		set.Posts = 0.1
		if set.Smoke {
			set.Posts = 0
		}
	}
	logger, err := cli.Logger(stderr, common.LogFormat, common.LogLevel)
	if err != nil {
		return err
	}
	opts := Options{Nodes: set.Nodes, Dir: set.Dir, RedisPort: set.RedisPort, HTTPPort: set.HTTPPort, StatusPort: set.StatusPort,
		NodePort: set.NodePort, UsualPorts: true}
	if set.Log {
		opts.Log = logger
	} else if err := opts.LogLevel.UnmarshalText([]byte(common.LogLevel)); err != nil {
		return cli.Usagef("--log-level: %w", err)
	}
	if err := errors.Join(opts.complete(), set.check()); err != nil {
		return &cli.Error{Code: cli.Usage, Err: err}
	}
	began := time.Now()
	site, err := startSite(ctx, opts)
	if err != nil {
		return err
	}
	defer func() {
		closed := site.Close()
		if closed == nil {
			fmt.Fprintln(stdout, site.left())
		}
		err = errors.Join(err, closed)
	}()
	for _, text := range site.moved {
		fmt.Fprintln(stdout, text)
	}
	clients := load.Options{URL: site.URL(), Rate: set.Rate, PostShare: set.Posts, Body: []byte("hello")}
	fmt.Fprintf(stdout, "%s: Nginx, %d nodes, Redis and lbd serve after %s\n", site.URL(), len(site.Nodes()), milliseconds(time.Since(began)))
	if set.Smoke {
		return newStory(site, clients, stdout).play(ctx)
	}
	return showLive(ctx, site, clients, set.Log, stdin, stdout)
}

// startSite starts a site, once more when another program took a port between our choice and its use. A port that was
// asked for is no such case.
func startSite(ctx context.Context, opts Options) (*Site, error) {
	for tries := 3; ; tries-- {
		site, err := NewSite(opts)
		if err == nil {
			err = site.Start(ctx)
		}
		switch {
		case ctx.Err() != nil && err != nil:
			return nil, errors.New("interrupted")
		case err == nil || tries == 0 || !errors.Is(err, syscall.EADDRINUSE):
			return site, err
		}
	}
}

// check returns all that is wrong with the settings that are no options of the site.
func (set *settings) check() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if set.Nodes == 0 { // which NewSite takes for its default
		wrong("nodes 0 is not a number from 1 to %d", mostNodes)
	}
	if !(set.Rate > 0 && set.Rate <= mostRate) {
		wrong("rate %g is not a number above 0, up to %g", set.Rate, float64(mostRate))
	}
	if !(set.Posts <= 1) {
		wrong("posts %g is not a share from 0 to 1", set.Posts)
	}
	if set.Smoke && set.Nodes < 2 {
		wrong("--smoke takes a node out while others serve: it needs --nodes 2 or more")
	}
	if least := float64(10 * set.Nodes); set.Smoke && set.Rate < least {
		wrong("--smoke watches each node's requests: %d nodes need --rate %g or more", set.Nodes, least)
	}
	return errors.Join(errs...)
}

// mostRate is more than one process that also runs the site can send evenly.
const mostRate = 50_000
