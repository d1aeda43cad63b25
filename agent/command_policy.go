package agent

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/bazbeans/bazbeans/pool"
	"github.com/bazbeans/bazbeans/trust"
)

// Policy is what this node lets commands do. It stands in the node's own config and nothing in Redis can widen it.
type Policy struct {
	TrustedKeys   []string `yaml:"trusted_keys"`   // lines that bbctl keygen prints, or @FILE with one for each key
	AllowUnsigned []string `yaml:"allow_unsigned"` // types of commands that need no signature, besides freeze, unfreeze, health_check
	RequireSigned bool     `yaml:"require_signed"` // no command without a signature, of whatever type
	Exec          Exec     `yaml:"exec"`
	Files         Files    `yaml:"files"`
	CommandsDir   string   `yaml:"commands_dir"` // folder of programs, each a command named as its file; "": none
	Service       Service  `yaml:"service"`
}

// harmless are the types that need no signature: who can write to Redis can take a node out of traffic anyway.
var harmless = []string{"freeze", "unfreeze", "health_check"}

func defaultPolicy() Policy {
	return Policy{
		Exec:    Exec{Allow: []string{"docker", "systemctl", "ls", "cat"}, Timeout: Duration(30 * time.Second), TimeoutMost: Duration(10 * time.Minute)},
		Files:   Files{SizeMost: 2 << 20},
		Service: Service{Timeout: Duration(10 * time.Minute)},
	}
}

// rules is a policy that was checked.
type rules struct {
	Policy
	ring trust.Ring
	as   *runAs // nil: as the agent
}

// prepare checks a policy; all that is wrong is in the error.
func (p Policy) prepare() (*rules, error) {
	r := &rules{Policy: p}
	var errs []error
	wrong := func(setting string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", setting, err))
		}
	}
	var err error
	r.ring, err = trust.NewRing(p.TrustedKeys)
	wrong("trusted_keys", err)
	if p.RequireSigned {
		switch {
		case len(p.AllowUnsigned) > 0:
			wrong("allow_unsigned", errors.New("require_signed allows none: leave one of them out"))
		case len(p.TrustedKeys) == 0:
			wrong("require_signed", errors.New("trusted_keys is empty, so that no command at all could be run"))
		}
	}
	r.as, err = p.Exec.check()
	wrong("exec", err)
	wrong("files", p.Files.check())
	wrong("service", p.Service.check())
	wrong("commands_dir", folder(p.CommandsDir).check())
	return r, errors.Join(errs...)
}

// admit returns the command that may be run of what was taken: of a signed one what the signed bytes say, and nothing
// beside them, and the name of its key, if it is signed. The error is a *Refusal, or wraps trust.ErrExpired.
func (r *rules) admit(t pool.Taken, node string, own *trust.OpenKey, now time.Time) (c pool.Command, signer string, err error) {
	if t.Signed != nil {
		return r.verify(t, node, own, now)
	}
	switch {
	case r.RequireSigned:
		return c, "", refuse("this node runs signed commands only (require_signed)")
	case !slices.Contains(harmless, t.Type) && !slices.Contains(r.AllowUnsigned, t.Type):
		return c, "", refuse("%s needs a signature by one of the node's trusted_keys (bbctl keygen makes a key), or its type in the node's allow_unsigned", t.Type)
	}
	return t.Command, "", fresh(t.Command, now)
}

func (r *rules) verify(t pool.Taken, node string, own *trust.OpenKey, now time.Time) (c pool.Command, signer string, err error) {
	o, err := r.ring.Verify(t.Signed, node, now, own)
	switch {
	case errors.Is(err, trust.ErrExpired):
		return c, "", err
	case err != nil:
		return c, "", refuse("%v", err)
	case o.ID != t.ID || o.Type != t.Type:
		return c, "", refuse("what is signed is %s %s, and beside it stands %s %s", o.Type, o.ID, t.Type, t.ID)
	}
	return pool.Ordered(o), o.Key.Name(), nil
}

func fresh(c pool.Command, now time.Time) error {
	if c.Expires.IsZero() || now.Before(c.Expires) {
		return nil
	}
	return fmt.Errorf("%w %s ago, at %s, by this node's clock", trust.ErrExpired, now.Sub(c.Expires).Round(time.Second), c.Expires.UTC().Format(time.RFC3339))
}

// remember says until when the id of a command must be known, so that it is not run again: longer than it is valid, since
// this node's clock may be put back. Zero: it need not be, since doing it again does no harm.
func remember(t pool.Taken, c pool.Command, now time.Time) time.Time {
	switch {
	case t.Signed == nil && laneOf(c.Type) != work:
		return time.Time{}
	case c.Expires.IsZero(), c.Expires.Sub(now) > trust.LifeMost+trust.Skew: // no signed one: its life is bounded, and how far ahead it is
		return now.Add(trust.LifeMost)
	}
	return c.Expires.Add(trust.Skew)
}
