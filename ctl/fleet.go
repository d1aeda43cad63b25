package ctl

import (
	"context"
	"slices"

	"github.com/bazbeans/bazbeans/pool"
)

// fleet is one look at everything: the nodes, and what each load balancer says of them.
type fleet struct {
	snap *pool.Snapshot
	ips  map[string]string // of Python nodes, as found
	lbs  []pool.LB
}

// readFleet looks. The load balancers come last: none looks behind a change that it has not been asked about.
func readFleet(ctx context.Context, p *pool.Pool) (*fleet, error) {
	var f fleet
	var err error
	if f.snap, err = p.FullSnapshot(ctx); err != nil {
		return nil, err
	}
	if f.ips, err = p.NodeIPs(ctx, pythonNodes(f.snap.Nodes)); err != nil {
		return nil, err
	}
	f.lbs, err = p.LBs(ctx)
	return &f, err
}

// views are the nodes that pass the filter and are in one of the states (nil: any).
func (f *fleet) views(filter filter, states []string) []nodeView {
	views := []nodeView{}
	for i := range f.snap.Nodes {
		n := &f.snap.Nodes[i]
		if filter.takes(n) && (len(states) == 0 || slices.Contains(states, string(n.State()))) {
			views = append(views, newNodeView(n, f.ips[n.ID], f.lbs))
		}
	}
	return views
}

// pythonNodes are the nodes whose address stands in bazbeans:node_ips.
func pythonNodes(nodes []pool.Node) (ids []string) {
	for _, n := range nodes {
		if !n.Address.IsValid() {
			ids = append(ids, n.ID)
		}
	}
	return ids
}

// servedBy are the load balancers that send to the node as far as they say: one that is silent or blind says nothing.
// What has not heard of a node's freeze yet still sends; old workers that drain do not count, freeze --wait does that.
func servedBy(n *pool.Node, lbs []pool.LB) []string {
	ids := []string{}
	for i := range lbs {
		b := &lbs[i]
		knows := b.Rev >= n.Rev
		refuses := slices.ContainsFunc(b.Refused, func(r pool.Refusal) bool { return r.ID == n.ID })
		wanted := inService(n)
		switch {
		case b.Silent, b.Blind, refuses:
		case wanted && knows, slices.Contains(b.Held, n.ID), !wanted && !knows && n.Alive:
			ids = append(ids, b.ID)
		}
	}
	return ids
}

// refusal is why one load balancer does not take a node.
type refusal struct {
	LB  string `json:"lb"`
	Why string `json:"why"`
}

func refusedBy(id string, lbs []pool.LB) []refusal {
	all := []refusal{}
	for i := range lbs {
		for _, r := range lbs[i].Refused {
			if r.ID == id {
				all = append(all, refusal{lbs[i].ID, r.Why})
			}
		}
	}
	return all
}
