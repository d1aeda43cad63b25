// Command bench measures how long a change of the pool takes to reach the load balancer, under load: from the write in
// Redis to the last request that a frozen node still got, and from the unfreeze to the first one. It measures the
// engines of lbd beside the bare floor of any tool that reloads (write the file, `nginx -t`, HUP), beside HAProxy's
// runtime API and, where there is one, beside confd, taking turns in one run on one machine; then what the live engine
// costs: throughput, many peers, many updates.
//
// Everything is real: redis-server, nginx, haproxy, bin/lbd as a process of its own. Only the nodes and the load
// generator live in this process. It holds the figures against the project's bounds in a table of its own, and fails
// only when it cannot measure: a bound that a busy machine missed is for people to look at. What is measured, and how, is
// in docs/benchmark.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/bazbeans/bazbeans/cli"
)

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) int {
	return cli.Report(stderr, "bench", bench(ctx, args, stdout, stderr))
}

func bench(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) == 4 && args[0] == follower {
		return follow(ctx, args[1], args[2], args[3], stdout)
	}
	o, help, err := parse(args)
	if err != nil {
		return err
	}
	if help != "" {
		_, err := io.WriteString(stdout, help)
		return err
	}
	res, failed := measure(ctx, o, stderr)
	if res == nil {
		return failed
	}
	return errors.Join(failed, res.show(o, stdout))
}

// show leaves the results in the folder and prints them.
func (res *results) show(o options, stdout io.Writer) error {
	if err := res.save(o.out); err != nil {
		return err
	}
	if o.json {
		return res.writeJSON(stdout)
	}
	if err := res.writeTable(stdout); err != nil {
		return err
	}
	_, err := fmt.Fprintf(stdout, "\nAll samples and the picture: %s, %s\n", jsonFile(o.out), svgFile(o.out))
	return err
}
