package nginx

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	psnet "github.com/shirou/gopsutil/v3/net"
)

// State is what Nginx's processes look like now.
type State struct {
	Master   int    // process id of the master; 0: Nginx is not running, unless Unseen
	Why      string // why there is no Master
	Workers  int    // draining ones not counted
	Draining int    // workers of former configurations that still finish their requests

	// Unseen: Nginx serves what was proven last, says its proof listener, but its processes can't be seen. Then Draining
	// is 1 as long as there may be old workers: until the worker_shutdown_timeout that they were started with has passed
	// since the last reload. Endless: they have none.
	Unseen, Endless bool

	Leaving []int       // the processes that Draining counts
	Users   []int       // as whom workers run, former ones too; nil: not all of them can be told
	Old     []OldWorker // Draining ones that have taken more than a second, for people

	// Former is the number of configurations that the draining workers are of: each holds memory.
	Former        int
	DrainingSince time.Time // when the oldest of them was told to finish, or first seen by lbd; zero: none drains
	// ShutdownTimeout is worker_shutdown_timeout as of the last look at the configuration; 0: there is none, and a
	// worker drains as long as its longest connection.
	ShutdownTimeout time.Duration
}

// OldWorker is a worker of a former configuration.
type OldWorker struct {
	PID         int
	Connections int // TCP connections that it still has, to clients and nodes; -1: they can't be seen
}

const slowToEnd = time.Second // who takes longer is worth a look at all its file descriptors

// Up reports whether Nginx runs, as far as anybody can tell.
func (s State) Up() bool { return s.Master != 0 || s.Unseen }

// State looks at the processes, and at nothing else once it knows the configuration. It does not wait for an Apply.
func (n *Nginx) State(ctx context.Context) (State, error) {
	b, err := n.build(ctx)
	if err != nil {
		return State{}, err
	}
	conf, err := n.known(ctx)
	if err != nil {
		return State{}, err
	}
	m, _, err := n.master(b)
	if a := new(absence); errors.As(err, &a) {
		st := State{Why: conf.why(a), ShutdownTimeout: conf.shutdown}
		if p := n.lastProof(); n.unseen() {
			err := n.answers(ctx, p)
			st.Unseen, st.Draining = err == nil, p.maybe(conf)
			st.Endless = p.leaving(conf) == never
			if err != nil {
				st.Why = fmt.Sprintf("%v, and %s", err, st.Why)
			}
		}
		return st, nil
	}
	if err != nil {
		return State{}, err
	}
	workers, draining := m.crew()
	for _, w := range n.elders(m) {
		if !slices.Contains(draining, w) {
			draining = append(draining, w)
		}
	}
	st := State{Master: m.PID, Workers: len(workers), Draining: len(draining), ShutdownTimeout: conf.shutdown}
	for _, w := range draining {
		st.Leaving = append(st.Leaving, w.PID)
	}
	st.Users = users(append(workers, draining...))
	st.Former, st.DrainingSince = n.former(workers, draining)
	if !st.DrainingSince.IsZero() && time.Since(st.DrainingSince) > slowToEnd {
		for _, w := range draining {
			st.Old = append(st.Old, OldWorker{PID: w.PID, Connections: connections(w.PID)})
		}
	}
	return st, nil
}

// connections counts the TCP connections of a process.
func connections(pid int) int {
	conns, err := psnet.ConnectionsPid("tcp", int32(pid))
	if err != nil {
		return -1
	}
	n := 0
	for _, c := range conns {
		if c.Status != "LISTEN" {
			n++
		}
	}
	return n
}
