package nginx

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/bazbeans/bazbeans/step"
)

// Where Nginx's processes can't be seen, as from another PID namespace, the witness is all there is: it tells that Nginx
// serves the files of the last proof. It can't tell whether old workers still finish requests.

// unseen tells whether Nginx may be there though no process of it is to be seen.
func (n *Nginx) unseen() bool { return n.listener.network != "" && n.opt.Reload != nil }

// answers returns nil if the witness of p still answers.
func (n *Nginx) answers(ctx context.Context, p proof) error {
	if p.Answer == "" {
		return errors.New("no proof listener was installed yet")
	}
	answer, err := n.listener.ask(ctx, p.Asked)
	if err == nil && answer != p.Answer {
		err = fmt.Errorf("%s answers %q, not %q", p.Asked, answer, p.Answer)
	}
	return err
}

// unshown is a reload that nobody has answered for, the former files neither: Nginx may be down, and then the new files
// are what it is to start with.
func unshown(err error) error {
	at, hint := step.Of(err), ""
	if e := new(step.Error); errors.As(err, &e) {
		err, hint = e.Err, e.Hint+"; "
	}
	return step.Errorf(at, strings.TrimPrefix(hint, "; ")+"the new files have passed nginx's test and stay", "nginx can't be shown to serve the new files, if it runs: %w", err)
}

// never is how long a worker takes to end without worker_shutdown_timeout.
const never = time.Duration(math.MaxInt64)

// replaces notes in p that a reload has replaced workers that were started as last says; a worker goes by the timeout of its
// own configuration, not of the one that replaces it. An operator may have reloaded between the two with either.
func (p *proof) replaces(last proof, conf learned) {
	p.Shutdown = cmp.Or(conf.shutdown, never)
	p.Leaving = max(p.Shutdown, last.Shutdown)
}

// leaving is after which time none of the workers is left that the reload of p has replaced. An lbd of old has not noted it.
func (p proof) leaving(conf learned) time.Duration { return cmp.Or(p.Leaving, conf.shutdown, never) }

// maybe is how many workers are said to drain where they can't be seen, p being the last proof: one as long as there may
// be any.
func (p proof) maybe(conf learned) int {
	const late = time.Second // timers of a busy worker
	if leaving := p.leaving(conf); leaving != never && p.Boot == bootID() && uptime() > p.At+leaving+late {
		return 0
	}
	return 1
}

// proveUnseen waits until new workers alone answer.
func (r *reloading) proveUnseen(ctx context.Context) error {
	if r.w == nil {
		return step.Errorf(step.Verify, "", "nginx's processes can't be seen, and the former files have no proof listener")
	}
	deadline := time.Now().Add(r.timeout)
	for {
		if r.w.outlasts(ctx) {
			return nil
		}
		r.listen()
		if slices.ContainsFunc(r.said, final) {
			return step.Errorf(step.Reload, "", "nginx goes on with the former configuration: %s", r.complaint())
		}
		if time.Now().After(deadline) {
			return step.Errorf(step.Verify, "see whether nginx runs, and look into its error log", "no proof within %v: %w%s",
				r.timeout, r.w.said, r.also())
		}
		if err := wait(ctx, provePoll); err != nil {
			return step.Errorf(step.Verify, "", "wait for new workers: %w", err)
		}
	}
}

// also is what the error log says, for the end of a message.
func (r *reloading) also() string {
	if len(r.said) == 0 {
		return ""
	}
	return fmt.Sprintf(": nginx's log says: %s", r.complaint())
}
