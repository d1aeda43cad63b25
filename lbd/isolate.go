package lbd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
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
func (l *LB) isolate(ctx context.Context, p *Plan, refusal error) (found bool) {
	named := new(nginx.Refused)
	if !errors.As(refusal, &named) {
		return false // what is on disk does not pass either
	}
	var changed, suspects []int
	former := make([]*nginx.File, len(p.Files)) // nil: there was none
	for i, file := range p.Files {
		former[i] = l.good(file.Path)
		if former[i] != nil && bytes.Equal(former[i].Data, file.Data) {
			continue
		}
		changed = append(changed, i)
		if slices.Contains(named.Paths, file.Path) {
			suspects = append(suspects, i)
		}
	}
	if len(p.Files) < 2 || len(changed) == 0 {
		return false
	}
	// without tests p with some outputs as they were.
	without := func(out []int) error {
		trial := *p
		trial.Files = nil
		for i := range p.Files {
			switch {
			case !slices.Contains(out, i):
				trial.Files = append(trial.Files, p.Files[i])
			case former[i] != nil:
				trial.Files = append(trial.Files, *former[i])
			}
		}
		return l.engine.Test(ctx, &trial)
	}
	for i, why := range culprits(ctx, changed, suspects, refusal, without) {
		l.blame(p.Files[i], why)
		found = true
	}
	return found
}

// culprits finds which of the changed outputs Nginx refuses, and why; none when the test without them does not pass either.
// without tests all but some, which are as they were; suspects are those that the refusal of all names.
//
// The suspects are tried first: if all the others pass, one test has found it. Else one after another is let in, and stays
// if the test passes: as many tests as there are changed ones.
func culprits(ctx context.Context, changed, suspects []int, refusal error, without func([]int) error) map[int]error {
	found := map[int]error{}
	if len(suspects) > 0 && without(suspects) == nil {
		for _, i := range suspects {
			found[i] = refusal
		}
		return found
	}
	if without(changed) != nil {
		return nil
	}
	out := slices.Clone(changed)
	for _, i := range changed {
		rest := slices.DeleteFunc(slices.Clone(out), func(j int) bool { return j == i })
		err := without(rest)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			out = rest
		default:
			found[i] = err
		}
	}
	return found
}

// good is what a file held when it was last good: as it was proven, or as it is on the disk; nil for not at all.
func (l *LB) good(path string) *nginx.File {
	if s, ok := l.last.upstream(l.writes(path)); ok {
		return &nginx.File{Path: path, Data: s.Text}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	return &nginx.File{Path: path, Data: text}
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
