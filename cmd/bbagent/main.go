// Command bbagent keeps one node in the pool; see package agent.
package main

import (
	"github.com/bazbeans/bazbeans/agent"
	"github.com/bazbeans/bazbeans/cli"
)

func main() { cli.Main(agent.Main) }
