package lbd

import (
	"bytes"
	"context"
	"errors"
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
// Those that Nginx's message names are tried first: if all the others pass, one test has found it. Else one upstream
// after another gets its new output, and keeps it if the test passes: as many tests as there are changed upstreams.
func (l *LB) isolate(ctx context.Context, p *Plan, refusal error) (found bool) {
	named := new(nginx.Refused)
	if !errors.As(refusal, &named) {
		return false // what is on disk does not pass either
	}
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
	if len(p.Files) < 2 {
		return false
	}
	test := func() error {
		defer l.notify.Alive()
		return l.engine.Test(ctx, &trial)
	}

	var suspects, others []int
	for _, i := range changed {
		if slices.Contains(named.Paths, p.Files[i].Path) {
			suspects = append(suspects, i)
		} else {
			others = append(others, i)
		}
	}
	if len(suspects) > 0 {
		formerly := slices.Clone(trial.Files)
		for _, i := range others {
			trial.Files[i] = p.Files[i]
		}
		if test() == nil {
			for _, i := range suspects {
				l.blame(p.Files[i], refusal)
			}
			return true
		}
		trial.Files = formerly
	}

	if test() != nil {
		return false
	}
	for _, i := range changed {
		former := trial.Files[i]
		trial.Files[i] = p.Files[i]
		if err := test(); err != nil {
			if ctx.Err() != nil {
				return false
			}
			trial.Files[i], found = former, true
			l.blame(p.Files[i], err)
		}
	}
	return found
}

// blame notes that Nginx refuses what f would hold.
func (l *LB) blame(file nginx.File, why error) {
	name := l.writes(file.Path).Name
	f := l.faulty[name]
	if f == nil {
		f = &fault{upstream: name, retry: backoff{first: 30 * time.Second, most: 10 * time.Minute}}
		l.faulty[name] = f
	}
	f.text, f.why = file.Data, why
	l.agenda.at(f.retry.failed(time.Now(), hashOf([]nginx.File{file})))
}

// writes returns the upstream whose output path is.
func (l *LB) writes(path string) *upstream {
	i := slices.IndexFunc(l.upstreams, func(u *upstream) bool { return u.Output == path })
	return l.upstreams[i]
}
