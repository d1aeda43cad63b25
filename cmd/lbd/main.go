// Command lbd keeps the upstreams of one Nginx in step with the node pool in Redis.
package main

import (
	"context"
	"io"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/lbd"
)

func main() {
	cli.Main(func(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
		return lbd.Main(ctx, args, stdin, stdout, stderr)
	})
}
