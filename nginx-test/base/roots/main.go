// Command roots makes the Debian roots of package base that are not there yet,
// and prints for each its suite, folder, nginx and redis: `make roots`, or
// `go run ./nginx-test/base/roots trixie`.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/bazbeans/bazbeans/nginx-test/base"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	suites := os.Args[1:]
	if len(suites) == 0 {
		suites = base.Suites
	}
	for _, suite := range suites {
		r, err := base.Get(ctx, suite)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(r.Suite, r.Dir, r.Nginx(), r.Redis())
	}
}
