package nginx

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"slices"
)

// The content of each file that Nginx was last proven to serve is kept in StateDir: what a refused reload goes back to
// is not what happened to be on disk, say a file that a killed lbd has installed and nobody has loaded.

func (n *Nginx) verifiedFile(real string) string {
	return filepath.Join(n.opt.StateDir, "verified", url.PathEscape(real))
}

func sum(data []byte) string {
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:])
}

// keepVerified keeps the content of outs and returns their sums, by resolved path. A file that is torn by a crash does
// not have its sum.
func (n *Nginx) keepVerified(outs []*output, content func(*output) []byte) map[string]string {
	sums := map[string]string{}
	last := n.lastProof().Sums
	for _, o := range outs {
		data := content(o)
		if data == nil {
			continue // it is not there
		}
		sums[o.real] = sum(data)
		if sums[o.real] == last[o.real] {
			continue
		}
		name := n.verifiedFile(o.real)
		n.tidy.Go(func() {
			err := os.MkdirAll(filepath.Dir(name), 0o700)
			if err == nil {
				err = os.WriteFile(name+".new", data, 0o600)
			}
			if err == nil {
				err = os.Rename(name+".new", name)
			}
			n.kept(name, "cannot keep what was proven", err, "file", o.real)
		})
	}
	return sums
}

// verified returns the content of o that was last proven; nil when it is not known.
func (n *Nginx) verified(o *output) []byte {
	want, ok := n.lastProof().Sums[o.real]
	if !ok {
		return nil
	}
	data, err := os.ReadFile(n.verifiedFile(o.real))
	if err != nil || sum(data) != want {
		return nil
	}
	return data
}

// revert undoes install, and goes back to what was last proven where something else was on disk, if that passes the test
// still. content is what is there then, nil for no file. The error says what could not be done.
func (n *Nginx) revert(ctx context.Context, s setup, outs []*output) (content func(*output) []byte, err error) {
	content = (*output).former
	if err := restore(outs); err != nil {
		return content, err
	}
	proven := make([]*output, len(outs))
	for i, o := range outs {
		f := File{Path: o.Path, Data: o.live, Remove: !o.exists}
		if data := n.verified(o); data != nil {
			f.Data, f.Remove = data, false
		}
		if proven[i], err = look(f); err != nil {
			return content, err
		}
	}
	defer discard(proven)
	if len(differing(proven)) == 0 || n.putBack(ctx, s, proven) != nil {
		return content, nil // what was proven is of no use any more: the configuration around it is another
	}
	return func(o *output) []byte { return proven[slices.Index(outs, o)].wanted() }, nil
}

// putBack tests and installs outs.
func (n *Nginx) putBack(ctx context.Context, s setup, outs []*output) error {
	if err := stage(outs); err != nil {
		return err
	}
	if _, err := n.test(ctx, s, outs, nil); err != nil {
		return err
	}
	changed, err := n.order(ctx, s, outs)
	if err != nil {
		return err
	}
	return errors.Join(n.install(changed), syncDirs(changed))
}
