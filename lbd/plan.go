package lbd

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/bazbeans/bazbeans/lbd/nginx"
	"github.com/bazbeans/bazbeans/pool"
	"github.com/bazbeans/bazbeans/render"
)

// Plan is what Nginx should serve: made from facts alone, nothing is written to make it.
type Plan struct {
	Rev   int64
	Files []nginx.File // one an upstream, but for those in Errors and those left as they are
	Sets  map[string][]render.Server
	Guard map[string]verdict // what the guard made of each upstream

	Nodes       []NodeStatus
	Quarantined []Quarantine
	Errors      []error // what is wrong with templates and their output; what was proven before is used where there is such
	Orphans     []error // upstreams that are no more, whose files are still there
	Pinned      *pin    // Files and Sets are those of this generation, whatever the facts are
	Complete    bool    // every upstream is in Files as the facts want it, or held by the guard

	lacking    bool     // Pinned can't be had
	orphanIDs  []string // nodes that Nginx may be sent to by Orphans alone
	anew       bool     // a reload is due, whatever Nginx is proven to serve: it runs some of Orphans that are not on disk any more
	hash       string   // of Files, names and all
	standing   bool     // made from what was served last: the pool can't be looked at
	plain      bool     // made again by templates proven before, because Nginx can't be told of peers
	generation int64    // its number, once it is to be applied
}

// NodeStatus is a node in /status, and in a fixture of `lbd render`.
type NodeStatus struct {
	ID         string            `json:"id" yaml:"id"`
	Address    string            `json:"address" yaml:"address"`
	Port       uint16            `json:"port" yaml:"port"`
	Weight     int               `json:"weight" yaml:"-"` // fixtureNode reads it
	DataCenter string            `json:"data_center" yaml:"data_center"`
	Labels     map[string]string `json:"labels" yaml:"labels"`
	Resolver   string            `json:"resolver" yaml:"resolver"`
	State      string            `json:"state" yaml:"state"`
	Why        string            `json:"why,omitempty" yaml:"why"`
	Stale      bool              `json:"stale,omitempty" yaml:"stale"`
	Held       bool              `json:"held,omitempty" yaml:"held"`
}

// upstream is one upstream of the config with what it was proven to serve.
type upstream struct {
	UpstreamConfig
	view    render.Upstream
	history history
	places  map[netip.AddrPort]string // who was served there last
	// byReload says why its servers change by reloads though there is a live engine; "" for nothing.
	byReload string
	// unknown: nobody remembers what the live file was made from, but it has servers in it.
	unknown bool
}

// plan decides who serves and renders it.
func (l *LB) plan(f *facts, templates *render.Set, now time.Time) *Plan {
	p := &Plan{Rev: f.rev, Complete: true, Sets: map[string][]render.Server{}, Guard: map[string]verdict{}, Quarantined: slices.Clone(f.refused)}
	index := make(map[string]*fact, len(f.nodes))
	for i := range f.nodes {
		index[f.nodes[i].ID] = &f.nodes[i]
	}
	q := about{grace: l.sight.grace}
	q.alive = func(id string) bool { n := index[id]; return n != nil && n.Alive }
	q.lost = func(id string) bool { return index[id].lostSight() }
	l.chosen.seat = ""
	why := map[string]string{}   // id -> why it is in quarantine
	ports := map[string]uint16{} // id -> the port it serves on, of the first upstream that has it
	for _, u := range l.upstreams {
		want, refused := u.want(f, &l.own, ports)
		q.gone = func(id string) bool { n := index[id]; return n == nil || n.goneUnasked() || refused[id] != "" }
		var approved bool
		q.approved, approved = l.approval.of(u.Name, now)
		v := judge(l.cfg.Guard, now, &u.history, want, q)
		if u.unknown && len(upIDs(want)) == 0 && !approved {
			v.why = fmt.Sprintf("the pool has no node to serve, and %s has servers: left as it is until there is one", u.Output)
			p.Guard[u.Name] = v
			p.Complete = false // nobody can say which nodes the file serves
			l.unseat(u, nil)
			continue
		}
		p.Guard[u.Name] = v
		want = replace(want, v.kept)
		for id, text := range refused {
			why[id] = text
		}
		file, err := l.render(u, want, templates)
		if err != nil {
			p.Errors = append(p.Errors, fmt.Errorf("upstream %s: %w", u.Name, err))
			file, err = l.render(u, want, l.proven)
		}
		if fault := l.faulty[u.Name]; err == nil && fault.is(file.Data, now) {
			p.Errors = append(p.Errors, fault)
			p.Complete = false
			good, ok := l.last.upstream(u)
			if !ok {
				l.unseat(u, nil)
				continue // it stays as it is on the disk
			}
			file.Data, want = good.Text, good.Servers
			l.unseat(u, good.Text)
		}
		if err != nil {
			p.Complete = false
			continue
		}
		p.Sets[u.Name] = want
		p.Files = append(p.Files, file)
	}
	wanted := map[string]bool{}
	for i := range f.nodes {
		wanted[f.nodes[i].ID] = f.nodes[i].wanted()
	}
	l.orphaned(p, wanted)
	l.describe(p, f, why, ports)
	p.hash = hashOf(p.Files)
	return p
}

// want lists the servers of the upstream as the pool and the resolvers have them: nodes that serve, and, where a
// client's place depends on all of them, frozen ones as down. refused says of nodes why they can't be in it.
func (u *upstream) want(f *facts, own *listeners, ports map[string]uint16) (want []render.Server, refused map[string]string) {
	refused = map[string]string{}
	owners := u.owners(f)
	for i := range f.nodes {
		n := &f.nodes[i]
		frozen := u.view.Balance.KeepsPlaces() && n.Alive && (n.State() == pool.Frozen || n.State() == pool.Unhealthy)
		if !n.wanted() && !frozen || !n.where.Found() || !u.Select.matches(&n.Node) {
			continue
		}
		port, err := u.port(n)
		at := netip.AddrPortFrom(n.where.Addr, port)
		if err == nil {
			err = own.check(at)
		}
		if owner := owners[at]; err == nil && owner != n.ID {
			err = fmt.Errorf("%s is the address of node %s (if that one is no more: bbctl forget %s)", at, owner, owner)
		}
		if err != nil {
			refused[n.ID] = fmt.Sprintf("upstream %s: %v", u.Name, err)
			continue
		}
		if _, ok := ports[n.ID]; !ok {
			ports[n.ID] = port
		}
		want = append(want, server(&n.Node, at, n.weight(), frozen))
	}
	for _, id := range u.overflow(f, want) {
		refused[id] = fmt.Sprintf("upstream %s: more than max_nodes %d want to be in it: nobody new gets in until they are fewer", u.Name, u.MaxNodes)
		delete(ports, id)
	}
	return slices.DeleteFunc(want, func(s render.Server) bool { return refused[s.ID] != "" }), refused
}

func server(n *pool.Node, at netip.AddrPort, weight int, down bool) render.Server {
	s := render.Server{ID: n.ID, Addr: at, Weight: weight, Down: down, DataCenter: render.Text(n.DataCenter)}
	if len(n.Labels) > 0 {
		s.Labels = make(map[string]render.Text, len(n.Labels))
		for k, v := range n.Labels {
			s.Labels[k] = render.Text(v)
		}
	}
	return s
}

// replace puts kept servers in, in the place of entries of the same id.
func replace(want, kept []render.Server) []render.Server {
	back := map[string]bool{}
	for _, s := range kept {
		back[s.ID] = true
	}
	want = slices.DeleteFunc(slices.Clone(want), func(s render.Server) bool { return back[s.ID] })
	return append(want, kept...)
}

func (l *LB) render(u *upstream, servers []render.Server, templates *render.Set) (nginx.File, error) {
	text, ok, err := l.renderLive(u, servers, templates)
	if err == nil && !ok {
		var v render.View
		if v, err = render.NewView(u.view, servers, l.cfg.ID); err == nil {
			l.seen(v)
			text, err = templates.Render(v)
		}
	}
	return nginx.File{Path: u.Output, Data: text}, err
}

func hashOf(files []nginx.File) string {
	h := sha256.New()
	for _, f := range files {
		fmt.Fprintf(h, "%d %s %d ", len(f.Path), f.Path, len(f.Data))
		h.Write(f.Data)
	}
	return hex.EncodeToString(h.Sum(nil))
}
