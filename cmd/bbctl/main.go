// Command bbctl is the operator's hand on the pool of nodes: see who serves, take nodes out, put them back.
package main

import (
	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/ctl"
)

func main() { cli.Main(ctl.Main) }
