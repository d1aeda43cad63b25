package dev

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/bazbeans/bazbeans/lbd"
)

// Options say what a site is made of. The zero value is three nodes, an embedded Redis, and free ports.
type Options struct {
	Nodes int    // web1, web2, … on 127.0.1.1, 127.0.1.2, …: 1 to 50; default 3
	Dir   string // for all files; it stays. Default: a temporary folder that goes with the site

	// Ports: of Redis, Nginx and lbd's status on 127.0.0.1, and of every application on its own address. 0 is a free
	// one; with UsualPorts it is 6379, 8080, 9180 and 8000, or the next that is free.
	RedisPort, HTTPPort, StatusPort, NodePort int
	UsualPorts                                bool

	RedisServer bool // a redis-server in place of the embedded Redis
	Workers     int  // of Nginx; default 2

	HeartbeatInterval time.Duration // of the agents; default 1 s
	HeartbeatTTL      time.Duration // how soon a dead node is noticed; default 3 s

	LBD      func(*lbd.Config) // may change lbd's config before it is used
	Log      *slog.Logger      // of lbd and the agents; default: text to the file bbdev.log in the folder
	LogLevel slog.Level        // of that file; default: info
}

// mostNodes is what the embedded Redis carries in its one process: it runs a script for each heartbeat, one at a time.
const mostNodes = 50

// complete puts in the defaults; the error names all that is wrong.
func (o *Options) complete() error {
	def := func(to *int, v int) {
		if *to == 0 {
			*to = v
		}
	}
	def(&o.Nodes, 3)
	def(&o.Workers, 2)
	if o.HeartbeatInterval == 0 {
		o.HeartbeatInterval = time.Second
	}
	if o.HeartbeatTTL == 0 {
		o.HeartbeatTTL = 3 * time.Second
	}
	var errs []error
	if o.Nodes < 1 || o.Nodes > mostNodes {
		errs = append(errs, fmt.Errorf("nodes %d is not a number from 1 to %d", o.Nodes, mostNodes))
	}
	for _, p := range o.ports() {
		if *p.to < 0 || *p.to > 65535 {
			errs = append(errs, fmt.Errorf("%s %d is not a port (1 to 65535)", p.flag, *p.to))
		}
	}
	return errors.Join(errs...)
}
