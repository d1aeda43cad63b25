package lbd

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/bazbeans/bazbeans/step"
)

// beside is the lbd at work here, as a command sees it that runs beside it.
type beside struct {
	holder  int // process that holds state_dir; 0: none that can be seen
	status  Status
	version string
	err     error // why it says nothing of itself
}

// lookBeside looks for an lbd at work, and asks it how it is.
func (l *LB) lookBeside(ctx context.Context) *beside {
	b := &beside{holder: flockHolder(filepath.Join(l.cfg.StateDir, "lock"))}
	if l.cfg.Status.Listen == "" {
		b.err = errors.New("status.listen is empty")
		return b
	}
	b.status, b.version, b.err = askLBD(ctx, l.cfg.Status.Listen)
	return b
}

// engine is how changes go in with the lbd of an id at work; nil: there is none, or it does not say.
func (b *beside) engine(id string) *EngineStatus {
	if b == nil || b.err != nil || b.status.ID != id || b.status.Engine.Name == "" {
		return nil
	}
	return &b.status.Engine
}

// vacant returns why an lbd could not start with the kind. It takes nothing from one that is at work.
func (l *LB) vacant(kind liveKind) error {
	names, is := kind.(*namesKind)
	if e := l.beside.engine(l.cfg.ID); !is || e != nil && e.Name == "resolve" || e == nil && l.beside.holder != 0 {
		return nil // the address is its own, or may be
	}
	err := names.start()
	names.close()
	return err
}

// broken returns why Nginx would not take the outputs without a live engine either: nothing can be said of engines then.
func (l *LB) broken(ctx context.Context) error {
	files, err := l.plainFiles()
	if err != nil {
		return err
	}
	return l.rehearse(ctx, files)
}

// outlook is how changes go into Nginx: with the lbd at work, where it can be asked, else as they would.
type outlook struct {
	name string // reload, lua, resolve, or not known
	why  string // why not another
	next string // what lbd would do once it is restarted, if that is not the same; with nobody at work ""
	err  error  // why nginx.apply: live can't be had
}

const (
	byConfig = "nginx.apply is reload"
	notKnown = "not known"
)

// bare is the error of a step without the step and the way out.
func bare(err error) string {
	if at := new(step.Error); errors.As(err, &at) {
		err = at.Err
	}
	return err.Error()
}

// outlook sums up what choose has found out for a command.
func (l *LB) outlook() outlook {
	c, e, live := &l.chosen, l.beside.engine(l.cfg.ID), l.cfg.Nginx.Apply == "live"
	o := outlook{name: c.name(), why: c.why}
	if c.broken != nil {
		o.name, o.why = notKnown, "it can't be tried, because something is broken: "+bare(c.broken)
	}
	if e != nil && e.Name == c.name() && e.Why == byConfig {
		e = nil // it has another config, and can't say how it would be with this one
	}
	fresh := o
	if e != nil {
		o.name, o.why = e.Name, e.Why
		switch {
		case c.broken != nil:
			o.next = "what it would do once restarted is not known: " + fresh.why
		case e.Name != c.name():
			o.next = "with this config it would be " + c.String()
		}
	}
	switch {
	case !live || o.name == "reload" && o.why == byConfig && o.next != "": // another config, too
	case o.name == notKnown:
		o.err = fmt.Errorf("nginx.apply is live, and whether it can be had is not known: %s", o.why)
	case o.name == "reload":
		o.err = fmt.Errorf("nginx.apply is live, and every change is a reload: %s", o.why)
	case fresh.name == "reload":
		o.err = fmt.Errorf("nginx.apply is live, and once lbd is restarted every change is a reload: %s", c.why)
	}
	return o
}

func (o outlook) String() string {
	text := o.name
	if o.why != "" {
		text += " (" + o.why + ")"
	}
	return text + o.rest()
}

// rest says whose word it is, where a restart of lbd may change it.
func (o outlook) rest() string {
	if o.next == "" {
		return ""
	}
	return ", says the lbd that runs; " + o.next
}
