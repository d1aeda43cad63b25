package nginx

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bazbeans/bazbeans/step"
)

// Between starting new workers and telling the old ones to quit the master sleeps 100 ms (ngx_master_process_cycle), so
// no proof can come earlier; and whoever looks at processes in the moments in which old workers close their connections
// takes time from them that clients feel.
const (
	proveFirst = 110 * time.Millisecond
	provePoll  = 10 * time.Millisecond // costs a look at one or two processes
)

// prove waits until m's workers are new, and as many as there should be. An error means that the reload failed, but
// for an *absence.
func (r *reloading) prove(ctx context.Context, want workers, out *Outcome) error {
	m := r.m
	var old []process
	for _, p := range r.before {
		if p.working() {
			old = append(old, p)
		}
	}
	former := len(old)
	r.n.retire(old)
	deadline := time.Now().Add(r.timeout)
	for pause := proveFirst; ; pause = provePoll {
		if err := wait(ctx, pause); err != nil {
			return step.Errorf(step.Verify, "", "wait for new workers: %w", err)
		}
		// One look at one old worker, as long as it takes connections.
		for len(old) > 0 && !old[0].working() {
			old = old[1:]
		}
		ready := false
		if len(old) == 0 {
			out.Workers, out.Draining, ready = m.renewed(r.before)
			ready = ready && want.met(out.Workers, former)
		}
		r.listen()
		if slices.ContainsFunc(r.said, final) {
			return step.Errorf(step.Reload, "", "nginx goes on with the former configuration: %s", r.complaint())
		}
		if ready && r.w.confirms(ctx) {
			return nil
		}
		if !m.alive() {
			return absent("process %d ended during the reload", m.PID)
		}
		if time.Now().After(deadline) {
			if ready {
				return step.Errorf(step.Verify, "see nginx.proof: lbd must reach the address, and no other server of Nginx may have it",
					"the new workers are there, but the proof listener does not say so: %w", r.w.said)
			}
			old = slices.DeleteFunc(old, func(p process) bool { return !p.working() })
			if fresh := m.freshWorkers(r.before); want.met(fresh, former) {
				return &lingering{old: len(old), fresh: fresh, after: r.timeout}
			}
			return step.Errorf(step.Verify, "look into nginx's error log",
				"no proof within %v: %d of %d former workers still take connections, %d of %s new ones are there: %s",
				r.timeout, len(old), former, out.Workers, want, r.complaint())
		}
	}
}

// listen reads what the master has written since the last call.
func (r *reloading) listen() {
	for _, l := range r.logs {
		r.said = append(r.said, l.fresh(r.pid)...)
	}
}

func (r *reloading) complaint() string { return complaint(strings.Join(r.said, "\n")) }

// renewed counts the workers of m; ready tells whether each of them is new and knows that it is a worker.
func (m process) renewed(before []process) (working, draining int, ready bool) {
	ready = true
	for _, child := range m.children() {
		title := child.title()
		switch {
		case isDraining(title):
			draining++
		case isWorking(title):
			working++
			ready = ready && !slices.Contains(before, child)
		case strings.HasPrefix(title, masterTitle) && !slices.Contains(before, child):
			ready = false // just forked, about to become a worker
		}
	}
	return working, draining + len(m.upgradedFrom()), ready && working > 0
}

// freshWorkers counts the workers of m that take connections and were not there before.
func (m process) freshWorkers(before []process) (n int) {
	working, _ := m.crew()
	for _, w := range working {
		if !slices.Contains(before, w) {
			n++
		}
	}
	return n
}

// lingering means that the reload worked, and old workers do not let go. To put the former files back would undo it on
// the workers that are well, and could be proven no better.
type lingering struct {
	old, fresh int
	after      time.Duration
}

func (e *lingering) Error() string {
	return fmt.Sprintf("%d new workers serve the new configuration, but %d of the former ones still take connections after %v", e.fresh, e.old, e.after)
}
