package nginx

// roads are the include statements that lead to our files, as of one look at the configuration on disk. A proof is about
// files: it says nothing of an operator, or a tool, who takes out what includes them.
type roads struct {
	conf    string
	tree    *tree           // without the text
	reached map[string]bool // by resolved path
}

// reaches tells whether the configuration on disk leads to outs. It is read only when it has changed since the last time;
// then what there is to learn from it is learnt, too. The lock is held.
func (n *Nginx) reaches(s setup, outs []*output) bool {
	r := n.roads
	if r == nil || r.conf != s.conf || !r.tree.unchanged() || !r.lead(outs) {
		t := walk(s.conf, outs)
		n.learn(s, t)
		r = &roads{conf: s.conf, tree: t, reached: map[string]bool{}}
		for o := range t.reached {
			r.reached[o.real] = true
		}
		for _, src := range t.sources {
			src.data, src.stmts, src.includes = nil, nil, nil
		}
		n.roads = r
	}
	return r.lead(outs)
}

func (r *roads) lead(outs []*output) bool {
	for _, o := range outs {
		if !o.Remove && !r.reached[o.real] {
			return false
		}
	}
	return true
}
