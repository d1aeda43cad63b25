// Command lbd keeps the upstreams of one Nginx in step with the node pool in Redis.
package main

import (
	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/harness"
	"github.com/bazbeans/bazbeans/lbd"
)

func main() {
	cli.Main(lbd.Program{Commands: []lbd.Command{harness.Command}}.Main)
}
