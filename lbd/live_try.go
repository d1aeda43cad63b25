package lbd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/bazbeans/bazbeans/lbd/live/lua"
	"github.com/bazbeans/bazbeans/lbd/nginx"
	"github.com/bazbeans/bazbeans/render"
)

// try asks Nginx whether it takes the kind's outputs, and whether templates can be used with it. Upstreams whose own output
// it refuses keep no other from being live: they come back with what it said.
func (l *LB) try(ctx context.Context, kind liveKind, serve bool) (refused map[string]error, err error) {
	former := l.chosen
	defer func() { l.chosen = former }()
	t := trial{l: l, kind: kind, templates: l.usable(time.Now()), test: l.rehearse}
	if serve {
		t.test = l.nginx.Test
	}
	files, err := t.files(nil)
	if err != nil {
		return nil, err
	}
	var live, suspects []int
	var whys []error
	for i, u := range l.upstreams {
		if u.byReload == "" {
			live = append(live, i)
		} else {
			whys = append(whys, fmt.Errorf("upstream %s: %s", u.Name, u.byReload))
		}
	}
	if len(live) == 0 {
		return nil, errors.Join(whys...)
	}
	err = t.test(ctx, files)
	named := new(nginx.Refused)
	if !errors.As(err, &named) {
		if err != nil && serve && l.runs(ctx, kind, files) {
			return former.refused, nil // the operator's configuration is broken, and peers can go in all the same
		}
		return nil, err
	}
	for _, i := range live {
		if slices.Contains(named.Paths, files[i].Path) {
			suspects = append(suspects, i)
		}
	}
	found := culprits(ctx, live, suspects, err, func(out []int) error { return t.without(ctx, out) })
	refused, whys = map[string]error{}, nil
	for _, i := range live {
		u, why := l.upstreams[i], found[i]
		if why == nil {
			continue
		}
		if errors.As(why, &named) {
			why = errors.New(named.Why) // without the place in lbd's work
		}
		refused[u.Name] = fmt.Errorf("nginx refuses the live output of template %s: %w", u.view.Template, why)
		whys = append(whys, fmt.Errorf("upstream %s: %w", u.Name, refused[u.Name]))
	}
	switch len(refused) {
	case 0:
		return nil, err // it is nothing of theirs
	case len(live):
		return nil, errors.Join(whys...)
	}
	return refused, nil
}

// plainFiles are the outputs of all upstreams without a live engine.
func (l *LB) plainFiles() (files []nginx.File, err error) {
	for _, u := range l.upstreams {
		servers, _ := l.last.upstream(u)
		f, err := l.render(u, servers.Servers, l.templates)
		if err != nil {
			return nil, fmt.Errorf("upstream %s: %w", u.Name, err)
		}
		files = append(files, f)
	}
	return files, nil
}

// trial has Nginx test the outputs of a kind.
type trial struct {
	l         *LB
	kind      liveKind
	templates *render.Set
	test      func(context.Context, []nginx.File) error
}

// files are the outputs of all upstreams, some of them as they are without the kind: as they were last good, or by reloads.
// The kind's common part is among them in any case.
func (t *trial) files(out []int) (files []nginx.File, err error) {
	l := t.l
	l.chosen = choice{kind: t.kind, refused: map[string]error{}}
	good := map[int]*nginx.File{}
	for _, i := range out {
		u := l.upstreams[i]
		if good[i] = l.good(u.Output); good[i] != nil {
			l.unseat(u, good[i].Data)
		}
		l.chosen.refused[u.Name] = errors.New("left out")
	}
	for i, u := range l.upstreams {
		if good[i] != nil {
			files = append(files, *good[i])
			continue
		}
		servers, _ := l.last.upstream(u)
		f, err := l.render(u, servers.Servers, t.templates)
		if err != nil {
			was := l.good(u.Output)
			if was == nil {
				return nil, err
			}
			f, u.byReload = *was, err.Error() // the plan says so as well
		}
		files = append(files, f)
	}
	if l.chosen.seat == "" {
		files[0].Data = append([]byte(t.kind.common()), files[0].Data...)
	}
	return files, nil
}

// without tests the outputs but for some.
func (t *trial) without(ctx context.Context, out []int) error {
	files, err := t.files(out)
	if err != nil {
		return err
	}
	return t.test(ctx, files)
}

// rehearse is Test for commands that change nothing.
func (l *LB) rehearse(ctx context.Context, files []nginx.File) error {
	return l.apart(files, func(files []nginx.File) error { return l.nginx.Rehearse(ctx, files) })
}

// apart tests files with a control socket elsewhere: Nginx binds it in its test, too, and the folder where it belongs is
// made by an lbd that serves.
func (l *LB) apart(files []nginx.File, test func([]nginx.File) error) error {
	if l.chosen.name() != "lua" {
		return test(files)
	}
	dir, err := os.MkdirTemp("", "lbd-")
	if err != nil {
		return fmt.Errorf("make a folder for the test: %w", err)
	}
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "control.sock")
	if err := lua.CheckSocket(socket); err != nil {
		return fmt.Errorf("make a socket for the test: %w (set TMPDIR)", err)
	}
	files = slices.Clone(files)
	for i := range files {
		files[i].Data = bytes.ReplaceAll(files[i].Data, []byte(luaSocket(l.cfg.StateDir)), []byte(socket))
	}
	return test(files)
}

// runs reports whether Nginx is proven to run with this kind.
func (l *LB) runs(ctx context.Context, kind liveKind, files []nginx.File) bool {
	served, err := l.nginx.Served(ctx, files)
	if err != nil {
		return false
	}
	for _, f := range served {
		if _, upstreams, err := kind.strip(f.Data); err == nil && len(upstreams) > 0 {
			return true
		}
	}
	return false
}

// refuse notes which upstreams Nginx does not take live, and why; say says whether to log it.
func (l *LB) refuse(refused map[string]error, say bool) {
	l.chosen.refused, l.chosen.tried = refused, l.templates
	if len(refused) > 0 {
		l.agenda.at(l.chosen.retry.failed(time.Now(), ""))
	}
	if !say {
		return
	}
	var errs []error
	for _, u := range l.upstreams {
		if err := refused[u.Name]; err != nil {
			errs = append(errs, fmt.Errorf("upstream %s: %w", u.Name, err))
		}
	}
	l.say.change("live outputs", errors.Join(errs...), "an upstream changes by reloads beside others that are live: see to its template", "nginx takes every upstream live")
}
