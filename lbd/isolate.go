package lbd

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/bazbeans/bazbeans/lbd/nginx"
)

// fault is an upstream whose output Nginx refuses. It stays at its last good, and the others go on.
type fault struct {
	upstream string
	text     []byte // what is refused
	why      error
	retry    backoff // something else may have been at fault: it is tried again
}

func (f *fault) Error() string {
	return fmt.Sprintf("upstream %s: nginx refuses its new output, and it stays at its last good: %v", f.upstream, f.why)
}

// is reports whether text is what was refused, and not to be tried again yet.
func (f *fault) is(text []byte, now time.Time) bool {
	return f != nil && now.Before(f.retry.next) && bytes.Equal(f.text, text)
}

// isolate finds the upstreams because of which Nginx refuses p, and notes them as faulty. It reports whether there
// are any, and others beside them: with all at their last good the test has to pass, or it is nothing of ours.
//
// One upstream after another gets its new output, and keeps it if the test passes: as many tests as there are changed
// upstreams.
func (l *LB) isolate(ctx context.Context, p *Plan, refusal error) (found bool) {
	trial := *p
	trial.Files = slices.Clone(p.Files)
	var changed []int
	for i, file := range p.Files {
		u := l.writes(file.Path)
		good, ok := l.last.upstream(u)
		switch {
		case !ok:
			return false // a new one: what it is to go back to is not known
		case !bytes.Equal(good.Text, file.Data):
			changed = append(changed, i)
			trial.Files[i].Data = good.Text
		}
	}
	if len(p.Files) < 2 || l.engine.Test(ctx, &trial) != nil {
		return false
	}
	for _, i := range changed {
		former := trial.Files[i]
		trial.Files[i] = p.Files[i]
		err := l.engine.Test(ctx, &trial)
		l.notify.Alive()
		if ctx.Err() != nil {
			return false
		}
		if err == nil {
			continue
		}
		trial.Files[i] = former
		found = true
		u := l.writes(former.Path)
		f := l.faulty[u.Name]
		if f == nil {
			f = &fault{upstream: u.Name, retry: backoff{first: 30 * time.Second, most: 10 * time.Minute}}
			l.faulty[u.Name] = f
		}
		f.text, f.why = p.Files[i].Data, err
		l.agenda.at(f.retry.failed(time.Now(), hashOf([]nginx.File{p.Files[i]})))
	}
	if !found { // each alone passes, and all together do not
		l.log.Debug("no upstream alone is at fault", "error", refusal)
	}
	return found
}

// writes returns the upstream whose output path is.
func (l *LB) writes(path string) *upstream {
	i := slices.IndexFunc(l.upstreams, func(u *upstream) bool { return u.Output == path })
	return l.upstreams[i]
}
