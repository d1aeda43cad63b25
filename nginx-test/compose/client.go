package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/bazbeans/bazbeans/dev/load"
)

// rate is how many requests the client sends in a second: enough to see who answers, little enough for a busy machine.
const rate = 100

// serveNode is a sample node: it answers with its id until ctx is done.
func serveNode(ctx context.Context, id string) error {
	b, err := load.Listen(":8000", id)
	if err != nil {
		return err
	}
	<-ctx.Done()
	return b.Close()
}

// sendTraffic is the client: it sends GETs to url until stdin ends. For each line of stdin it writes the counts so far,
// as one line of JSON, and at the end the report.
func sendTraffic(ctx context.Context, url string, stdin io.Reader, stdout io.Writer) error {
	// How long an answer takes on a machine with other work says nothing; that it fails does.
	g, err := load.New(load.Options{URL: url, Rate: rate, Timeout: soon, MaxWaiting: rate * int(soon.Seconds())})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	out := json.NewEncoder(stdout)
	told := make(chan error, 1)
	go func() {
		defer stop()
		lines := bufio.NewScanner(stdin)
		for lines.Scan() {
			if err := out.Encode(g.Counts()); err != nil {
				told <- err
				return
			}
		}
		told <- lines.Err()
	}()
	report, err := g.Run(ctx)
	if err != nil {
		return fmt.Errorf("send traffic to %s: %w", url, err)
	}
	if err := <-told; err != nil {
		return err
	}
	return out.Encode(figures{report.Counts, report.Latency.Max().Seconds()})
}

// figures are what a client's run came to.
type figures struct {
	load.Counts
	Slowest float64 // seconds, from when the request was due
}
