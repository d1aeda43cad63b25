package trust

import (
	"bufio"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// ErrExpired says that an order is genuine and too old.
var ErrExpired = errors.New("expired")

// Ring is the keys that a node trusts. Its zero value trusts nobody.
type Ring struct {
	keys map[string]PublicKey // by id
}

// NewRing reads trusted keys. Each entry is a public key's line, or "@" and the path of a file with one line for each
// key; empty lines and lines that begin with # are left out. All errors are returned at once.
func NewRing(entries []string) (Ring, error) {
	r := Ring{keys: map[string]PublicKey{}}
	var errs []error
	for _, e := range entries {
		path, isFile := strings.CutPrefix(e, "@")
		if !isFile {
			errs = append(errs, r.add(e))
			continue
		}
		errs = append(errs, r.addFile(path))
	}
	return r, errors.Join(errs...)
}

func (r Ring) addFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("read trusted keys: %w", err)
	}
	defer f.Close()
	var errs []error
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		text := strings.TrimSpace(lines.Text())
		if text == "" || text[0] == '#' {
			continue
		}
		if err := r.add(text); err != nil {
			errs = append(errs, fmt.Errorf("%s:%d: %w", path, n, err))
		}
	}
	return errors.Join(append(errs, lines.Err())...)
}

func (r Ring) add(text string) error {
	k, err := ParsePublicKey(text)
	if err == nil {
		r.keys[k.ID()] = k
	}
	return err
}

// Len is how many keys are trusted.
func (r Ring) Len() int { return len(r.keys) }

// Verify returns the order that a command's field "signed" holds, if a trusted key signed it for this node and it is
// valid now; open is the node's own key for sealed arguments, nil if it has none. The error wraps ErrExpired when only
// its age is wrong; then the order is returned, too, so that it can be named. Whether its id was seen before is for the
// caller to know.
func (r Ring) Verify(field json.RawMessage, node string, now time.Time, open *OpenKey) (Order, error) {
	var e envelope
	if err := strictly(field, &e); err != nil {
		return Order{}, fmt.Errorf("unreadable signature: %w", err)
	}
	k, known := r.keys[e.Key]
	switch {
	case !known && len(r.keys) == 0:
		return Order{}, errors.New("this node trusts no key: add the sender's to trusted_keys")
	case !known:
		return Order{}, fmt.Errorf("signed by the key %.40q, which is not in trusted_keys", e.Key)
	case !ed25519.Verify(k.key, signed(e.Payload), e.Signature):
		return Order{}, fmt.Errorf("the signature by key %s is forged or damaged", k.Name())
	}
	var p payload
	if err := strictly(e.Payload, &p); err != nil {
		return Order{}, fmt.Errorf("unreadable command signed by key %s: %w", k.Name(), err)
	}
	if p.Version != payloadVersion {
		return Order{}, fmt.Errorf("signed in form %d; this agent knows form %d", p.Version, payloadVersion)
	}
	o := Order{p.Node, p.ID, p.Type, p.By, time.UnixMilli(p.Issued), time.UnixMilli(p.Expires), p.Args, k}
	switch err := o.check(); {
	case err != nil:
		return Order{}, fmt.Errorf("command signed by key %s: %w", k.Name(), err)
	case o.Node != node:
		return Order{}, fmt.Errorf("signed for node %.140q, this is %s", o.Node, node)
	case o.Issued.Sub(now) > Skew:
		return Order{}, fmt.Errorf("issued %s ahead of this node's clock: are both clocks right?", o.Issued.Sub(now).Round(time.Second))
	case !now.Before(o.Expires):
		return o, fmt.Errorf("%w %s ago by this node's clock", ErrExpired, now.Sub(o.Expires).Round(time.Second))
	}
	if p.Sealed != nil {
		args, err := open.open(p.binding(k), p.Sealed)
		if err != nil {
			return Order{}, err
		}
		if err := strictly(args, &o.Args); err != nil {
			return Order{}, fmt.Errorf("unreadable sealed arguments: %w", err)
		}
	}
	return o, nil
}

// Name is what logs call the key: its id, and its comment if it has one.
func (k PublicKey) Name() string {
	if k.Comment == "" {
		return k.ID()
	}
	return fmt.Sprintf("%s (%s)", k.ID(), k.Comment)
}
