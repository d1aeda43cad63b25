// Command faults plays faults to a small site under constant traffic, one a row: what is done, what must hold, and the
// figures of it. It is the proof, for anybody who doubts it, that nothing which happens to Redis, the network, the
// disk, Nginx, lbd or the pool's data costs a request that the same fault costs without lbd.
//
// All of it is real: redis-server, two Nginxes, bin/lbd. Beside the Nginx that lbd keeps stands the control: the same
// nodes in a file that nobody changes, the same traffic, the same faults, and a bare reload whenever lbd's Nginx has
// one. A row fails when its state does not hold, when it does not converge in the time it states, or when more requests
// fail than at the control.
//
// The rows are in redis.go, redisnet.go, nginx.go, lbdkill.go, lbdoperator.go, disk.go, pool.go, hostile.go, live.go,
// livelua.go and liveresolve.go; the words
// they are told in are in deeds.go (what is done) and words.go (what must hold). What the table means is in docs/faults.md. It measures no speed: that is dev/bench.
package main

import (
	"context"
	"fmt"
	"io"

	"github.com/bazbeans/bazbeans/cli"
)

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) int {
	return cli.Report(stderr, "faults", faults(ctx, args, stdout, stderr))
}

func faults(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, help, err := parse(args)
	if err != nil {
		return err
	}
	if help != "" {
		_, err := io.WriteString(stdout, help)
		return err
	}
	games, leftOut, err := choose(allRows(), o)
	if err != nil {
		return err
	}
	if o.list {
		return writeList(stdout, games)
	}
	results := play(ctx, o, games, stderr)
	results.LeftOut = leftOut
	if err := results.show(o, stdout); err != nil {
		return err
	}
	if n := results.failed(); n > 0 {
		return fmt.Errorf("%d of %d rows failed", n, len(results.Rows))
	}
	return ctx.Err()
}
