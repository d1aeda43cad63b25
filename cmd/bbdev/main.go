// Command bbdev runs a whole small site in the foreground, to try and to develop; see package dev.
package main

import (
	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/dev"
)

func main() { cli.Main(dev.Main) }
