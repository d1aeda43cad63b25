package main

import (
	"slices"
	"time"
)

// What a run may consist of: the contenders, then the parts.
const (
	laneFloor      = "floor"
	laneLBD        = "lbd"
	laneLua        = "lua"
	laneResolve    = "resolve"
	laneHAProxy    = "haproxy"
	laneConfd      = "confd"
	partThroughput = "throughput"
	partPeers      = "peers"
	partUpdates    = "updates"
)

var everything = []string{laneFloor, laneLBD, laneLua, laneResolve, laneHAProxy, partThroughput, partPeers, partUpdates}

// plans are the contenders, in the order of their turns.
func plans(o options) []plan {
	const (
		reloadQuiet = 1250 * time.Millisecond
		liveQuiet   = 250 * time.Millisecond
	)
	all := []plan{
		{name: laneFloor, start: startFloor, cycles: o.Cycles, reloads: true, quiet: reloadQuiet},
		{name: laneLBD, start: startLBD(o.lbd, byReload, webOptions{}), cycles: o.Cycles, reloads: true, quiet: reloadQuiet},
		{name: laneLua, start: startLBD(o.lbd, byLua, webOptions{lua: true}), cycles: o.Live, quiet: liveQuiet},
		{name: laneResolve, start: startResolve(o), cycles: 2 * o.Cycles, quiet: liveQuiet, jitter: time.Second},
		{name: laneHAProxy, start: startHAProxy(o.haproxy), cycles: o.Live, quiet: liveQuiet},
	}
	if o.confd != "" {
		all = append(all, plan{name: laneConfd, start: startConfd(o.confd), cycles: o.Cycles, reloads: true, quiet: reloadQuiet})
	}
	return all
}

// does tells whether a contender or a part is wanted.
func (o *options) does(name string) bool {
	return len(o.only) == 0 || slices.Contains(o.only, name) || name == laneConfd
}
