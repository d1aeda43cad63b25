package nginx

import (
	"context"
	"strings"

	"github.com/bazbeans/bazbeans/ngxconf"
	"github.com/bazbeans/bazbeans/step"
)

// order returns changed, outputs whose new state all together has passed the test, in an order of installing in
// which Nginx would start after each rename: lbd may be killed between two of them, and Nginx restarted. Where Nginx
// would not start as it is, no order makes that worse, and any will do.
//
// Tests cost time, so they are run only where one file can matter to another: see settled.
func (n *Nginx) order(ctx context.Context, s setup, outs []*output) ([]*output, error) {
	changed := differing(outs)
	free := 0
	for _, o := range changed {
		if o.settled() {
			free++
		}
	}
	if len(changed)-free < 2 {
		return changed, nil
	}
	var order []*output
	for len(changed) > 1 { // with the last one it is the state that has passed
		next, why := -1, error(nil)
		for i, o := range changed {
			_, err := n.test(ctx, s, onlyWith(outs, append(order[:len(order):len(order)], o)), nil)
			if err == nil {
				next = i
				break
			}
			if ctx.Err() != nil {
				return nil, err
			}
			why = err
		}
		if next < 0 {
			broken, err := n.testLive(ctx, s)
			if err != nil {
				return nil, err
			}
			if broken != "" {
				return append(changed, order...), nil // what mends it comes last, lest the others break it again
			}
			return nil, step.Errorf(step.Test, "write what needs each other into one output",
				"the new files pass the test together, but there is no order to install them one by one: %w", why)
		}
		order = append(order, changed[next])
		changed = append(changed[:next:next], changed[next+1:]...)
	}
	return append(order, changed...), nil
}

// onlyWith returns outs as they are when, of those that differ, just these have been installed.
func onlyWith(outs, these []*output) []*output {
	list := make([]*output, len(outs))
	for i, o := range outs {
		as := *o
		as.Data, as.Remove = o.live, !o.exists
		for _, this := range these {
			if this == o {
				as.Data, as.Remove = o.Data, o.Remove
			}
		}
		list[i] = &as
	}
	return list
}

// settled tells whether the change of o cannot matter to any other file: the common case, other servers in the same
// upstreams.
func (o *output) settled() bool {
	if !o.exists || o.Remove {
		return false
	}
	former, ok1 := shape(o.live)
	wanted, ok2 := shape(o.Data)
	return ok1 && ok2 && former == wanted
}

// shape is what other files can see of text: all of it but comments and what stands in upstream{}, of which they see
// the name and the shared memory zone.
func shape(text []byte) (seen string, ok bool) {
	list, err := ngxconf.Parse(text)
	if err != nil {
		return "", false
	}
	var b strings.Builder
	for _, st := range list {
		if st.Name() != "upstream" || !st.HasBlock {
			b.Write(text[st.Start:st.End])
			b.WriteByte('\n')
			continue
		}
		b.Write(text[st.Start:st.Words[len(st.Words)-1].End])
		for _, in := range st.Block {
			switch in.Name() {
			case "include":
				return "", false
			case "zone":
				b.Write(text[in.Start:in.End])
			}
		}
		b.WriteByte('\n')
	}
	return b.String(), true
}
