package lbd

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/kballard/go-shellquote"

	"github.com/bazbeans/bazbeans/pool"
)

// checkPool says what the pool holds, and what of it lbd refuses.
func (d *doctor) checkPool(context.Context) {
	if d.away != nil {
		return
	}
	serving := 0
	for i := range d.facts.nodes {
		if d.facts.nodes[i].wanted() {
			serving++
		}
	}
	if len(d.facts.nodes) == 0 {
		d.add(finding{Code: "pool", Level: levelNote, What: "the pool is empty",
			Means: "No node has registered under this key_prefix: start an agent, or see whether its prefix is the same."})
	} else {
		d.ok("pool", "%d node(s), %d of them for traffic", len(d.facts.nodes), serving)
	}
	if d.facts.trouble != nil {
		d.add(finding{Code: "resolvers", Level: levelWarning, What: d.facts.trouble.Error(),
			Means: "Nodes that it concerns stay at the address last known; one never known gets no traffic. Ask with lbd resolve NODE."})
	}
	const most = 10
	for i, q := range d.plan.Quarantined {
		if i == most {
			d.add(finding{Code: "quarantine", Level: levelWarning, What: fmt.Sprintf("and %d more", len(d.plan.Quarantined)-most)})
			break
		}
		f := finding{Code: "quarantine", Level: levelWarning, What: fmt.Sprintf("%.40s: %s", q.ID, q.Why), Means: "It gets no traffic; the others do."}
		if pool.CheckID(q.ID) == nil {
			f.Where, f.Fix = "if that node is no more", "bbctl forget "+q.ID
		}
		d.add(f)
	}
}

// checkGuard compares the guard's settings, and a few others, with the fleet there is.
func (d *doctor) checkGuard(context.Context) {
	c := d.l.cfg
	for _, u := range d.l.upstreams {
		if d.away != nil {
			break
		}
		want, _ := u.want(d.facts, &d.l.own, map[string]uint16{})
		up := len(upIDs(want))
		if up > 0 && up < c.Guard.MinNodes {
			d.add(finding{Code: "min-nodes", Level: levelProblem, What: fmt.Sprintf("upstream %s has %d node(s), guard.min_nodes is %d", u.Name, up, c.Guard.MinNodes),
				Means: "The guard holds what was served before without end, and no freeze applies any more.",
				Where: inConfig, Fix: fmt.Sprintf("guard:\n  min_nodes: %d", max(up/2, 1))})
		}
		if len(want) > u.MaxNodes*4/5 {
			d.add(finding{Code: "max-nodes", Level: levelWarning, What: fmt.Sprintf("upstream %s has %d of at most %d nodes", u.Name, len(want), u.MaxNodes),
				Means: "Above max_nodes nobody new gets in, so that a flood of registrations takes no working node's place.",
				Where: fmt.Sprintf("%s, at upstream %s", inConfig, u.Name), Fix: fmt.Sprintf("max_nodes: %d", 2*u.MaxNodes)})
		}
		if why := d.plan.Guard[u.Name].why; why != "" {
			d.add(finding{Code: "held", Level: levelWarning, What: "upstream " + u.Name + ": " + why,
				Means: "The guard keeps servers against the pool's word."})
		}
	}
	ttl := time.Duration(0)
	for i := range d.facts.nodes {
		if n := &d.facts.nodes[i]; !n.Expires.IsZero() {
			ttl = max(ttl, time.Until(n.Expires))
		}
	}
	if c.Guard.Hold < ttl {
		d.add(finding{Code: "guard-hold", Level: levelWarning, What: fmt.Sprintf("guard.hold is %s, heartbeats live for up to %s or more", c.Guard.Hold, ttl.Round(time.Second)),
			Means: "Agents that lost Redis for a moment need about that long to be back: what is held is given up before.",
			Where: inConfig, Fix: fmt.Sprintf("guard:\n  hold: %s", max(2*ttl.Round(10*time.Second), time.Minute))})
	}
	if c.Guard.Window < ttl {
		d.add(finding{Code: "guard-window", Level: levelWarning, What: fmt.Sprintf("guard.window is %s, heartbeats live for up to %s or more", c.Guard.Window, ttl.Round(time.Second)),
			Means: "Agents cut off together expire one after another over that time, and in a short window no step looks large.",
			Where: inConfig, Fix: fmt.Sprintf("guard:\n  window: %s", max(2*ttl.Round(10*time.Second), time.Minute))})
	}
	if c.Guard.MaxShrink >= 100 {
		d.add(finding{Code: "guard-shrink", Level: levelWarning, What: "guard.max_shrink is 100%",
			Means: "Any loss is believed at once, down to min_nodes.", Where: inConfig, Fix: "guard:\n  max_shrink: 50%"})
	}
	if c.Timing.MinInterval == 0 {
		d.add(finding{Code: "min-interval", Level: levelWarning, What: "timing.min_interval is 0",
			Means: "Each change is a reload of its own: a restart of the fleet leaves a heap of old workers.",
			Where: inConfig, Fix: "timing:\n  min_interval: 1s"})
	}
	if p, err := d.l.pins.read(); err != nil {
		d.add(finding{Code: "pinned", Level: levelWarning, What: err.Error(), Means: "lbd keeps to what it serves, as with any pin, until this one is ended or can be read.",
			Where: inShell, Fix: "rm " + shellquote.Join(d.l.pins.path)})
	} else if p != nil {
		d.add(finding{Code: "pinned", Level: levelWarning, What: fmt.Sprintf("generation %d is pinned since %s", p.Generation, p.At.UTC().Format(time.RFC3339)),
			Means: "What changes in the pool is not applied until the pin is ended.", Where: inShell, Fix: "lbd rollback --end"})
	}
	d.checkNetworks()
}

// never are addresses that no node of another machine has.
var never = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128"),
	netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("fe80::/10")}

func (d *doctor) checkNetworks() {
	for _, text := range d.l.cfg.AllowNetworks {
		n, err := netip.ParsePrefix(text)
		if err != nil {
			continue // an address alone is meant
		}
		for _, bad := range never {
			if !n.Overlaps(bad) {
				continue
			}
			d.add(finding{Code: "allow-networks", Level: levelWarning, What: fmt.Sprintf("allow_networks has %s, and so %s", text, bad),
				Means: "Whoever may write to the pool can make Nginx send requests to services of this host or, at 169.254.169.254, for its cloud credentials.",
				Where: inConfig, Fix: "allow_networks: [10.0.0.0/8]    # the networks of the nodes"})
			break
		}
	}
}

// checkLBs looks at what the load balancers of this pool say of themselves.
func (d *doctor) checkLBs(ctx context.Context) {
	p, real := d.l.pool.(*pool.Pool)
	if d.away != nil || !real {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	lbs, err := p.LBs(ctx)
	if err != nil {
		d.add(finding{Code: "lbs", Level: levelNote, What: "the other load balancers can't be asked after: " + err.Error(),
			Means: "lbd needs not know them; bbctl lbs shows them."})
		return
	}
	var names []string
	for _, lb := range lbs {
		switch {
		case lb.ID == d.l.cfg.ID && !lb.Silent && lb.Host != "" && lb.Host != d.l.host:
			d.add(finding{Code: "lb-id", Level: levelProblem, What: fmt.Sprintf("an lbd on host %.60s has the id %s", lb.Host, lb.ID),
				Means: "Two with one id take each other's word: a drain would not wait for both.", Where: inConfig, Fix: "id: " + d.l.cfg.ID + "-2"})
		case lb.ID != d.l.cfg.ID && lb.Silent:
			d.add(finding{Code: "lb-silent", Level: levelWarning, What: "load balancer " + lb.ID + " is silent",
				Means: "`bbctl freeze --wait` and rolling updates wait for it, since its Nginx may still send.",
				Where: "if it is no more", Fix: "bbctl lbs forget " + lb.ID})
		default:
			names = append(names, lb.ID)
		}
	}
	if names != nil {
		d.ok("lbs", "load balancers of this pool: %s", strings.Join(names, ", "))
	}
}
