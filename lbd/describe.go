package lbd

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/bazbeans/bazbeans/pool"
)

// describe fills in what people see of the plan.
func (l *LB) describe(p *Plan, f *facts, why map[string]string, ports map[string]uint16) {
	held := map[string]bool{}
	for _, v := range p.Guard {
		for _, s := range v.kept {
			held[s.ID] = true
		}
	}
	for i := range f.nodes {
		n := &f.nodes[i]
		if n.Labels == nil {
			n.Labels = map[string]string{}
		}
		s := NodeStatus{ID: n.ID, Port: ports[n.ID], Weight: n.weight(), DataCenter: n.DataCenter, Labels: n.Labels,
			Resolver: n.where.Link, State: string(n.State()), Why: n.Why(), Stale: n.where.Stale, Held: held[n.ID]}
		if n.where.Found() {
			s.Address = n.where.Addr.String()
		}
		if n.where.Stale {
			s.Why = cmp.Or(s.Why, n.where.Err.Error())
		}
		if s.Port == 0 {
			s.Port = n.Port
		}
		if err := n.refusal(); err != nil {
			why[n.ID] = err.Error()
		}
		if w, ok := why[n.ID]; ok {
			if ports[n.ID] == 0 { // else another upstream has it
				s.State, s.Why = string(pool.Faulty), w
			}
			p.Quarantined = append(p.Quarantined, Quarantine{ID: n.ID, Why: w})
		}
		p.Nodes = append(p.Nodes, s)
	}
}

// refusals are the nodes in quarantine, for the ack: those whose ids are none are seen by everybody who looks.
func (p *Plan) refusals() (list []pool.Refusal) {
	for _, q := range p.Quarantined {
		if pool.CheckID(q.ID) == nil {
			list = append(list, pool.Refusal(q))
		}
	}
	return list
}

// summary is one line for people.
func (p *Plan) summary(running generation) string {
	ids := map[string]bool{}
	for _, set := range p.Sets {
		maps.Copy(ids, upIDs(set))
	}
	text := fmt.Sprintf("serving %s, generation %d", counted(len(ids), "node", "nodes"), running.N)
	if n := len(p.heldIDs()); n > 0 {
		text += fmt.Sprintf(", %d held by the guard", n)
	}
	if p.Pinned != nil {
		text += ", pinned"
	}
	return text
}

// problems is what keeps the plan from being what the pool asks for; nil for nothing.
func (p *Plan) problems() error {
	err := errors.Join(append(slices.Clone(p.Errors), p.Orphans...)...)
	if p.Pinned != nil {
		err = errors.Join(errors.New(p.Pinned.String()), err)
	}
	return err
}
