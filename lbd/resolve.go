package lbd

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"text/tabwriter"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/pool"
	"github.com/bazbeans/bazbeans/resolvers"
)

// explained is what the resolvers said of a node, and what came of it.
type explained struct {
	ID       string      `json:"id"`
	InPool   bool        `json:"in_pool"`
	Address  string      `json:"address"` // "": none
	Port     uint16      `json:"port"`    // 0: the resolver does not say, nor weight
	Weight   int         `json:"weight"`
	Resolver string      `json:"resolver"`
	Why      string      `json:"why,omitempty"`
	Said     []testimony `json:"said"`
}

type testimony struct {
	Resolver string            `json:"resolver"`
	Outcome  resolvers.Outcome `json:"outcome"`
	Address  string            `json:"address"`
	Port     uint16            `json:"port"`
	Weight   int               `json:"weight"`
	Why      string            `json:"why,omitempty"`
	MS       float64           `json:"ms"`
	Won      bool              `json:"won"`
}

// resolve is `lbd resolve NODE…`. A node that the pool does not have is asked about all the same, by its id alone.
func resolve(ctx context.Context, l *LB, ids []string, output string, stdout, stderr io.Writer) error {
	for _, id := range ids {
		if err := pool.CheckID(id); err != nil {
			return &cli.Error{Code: cli.Usage, Err: err}
		}
	}
	nodes := map[string]pool.Node{}
	looking, cancel := context.WithTimeout(ctx, lookTimeout)
	snap, err := l.pool.SnapshotFor(looking, l.cfg.ID, ids)
	cancel()
	if err != nil {
		fmt.Fprintln(stderr, "lbd: the pool can't be looked at, nodes are asked about by their ids alone:", err)
	} else {
		for _, n := range snap.Nodes {
			nodes[n.ID] = n
		}
	}
	all := []explained{}
	var lost []error
	for _, id := range ids {
		n, in := nodes[id]
		if !in {
			n.ID = id
			if err == nil {
				fmt.Fprintf(stderr, "lbd: %s is not in the pool: it is asked about by its id alone\n", id)
			}
		}
		r, said := l.chain.Explain(ctx, n)
		all = append(all, explain(id, in, r, said))
		if !r.Found() {
			lost = append(lost, fmt.Errorf("%s has no address: %s", id, cli.Printable(r.Err.Error(), 200)))
		}
	}
	if output == "json" {
		enc := json.NewEncoder(stdout)
		enc.SetIndent("", "  ")
		err = enc.Encode(all)
	} else {
		err = printExplained(stdout, all)
	}
	return errors.Join(err, errors.Join(lost...))
}

func explain(id string, in bool, r resolvers.Resolution, said []resolvers.Testimony) explained {
	e := explained{ID: id, InPool: in, Address: shown(r.Addr), Port: r.Port, Weight: r.Weight, Resolver: r.Link, Why: reason(r.Err)}
	for _, t := range said {
		e.Said = append(e.Said, testimony{Resolver: t.Link, Outcome: t.Outcome, Address: shown(t.Addr), Port: t.Port, Weight: t.Weight,
			Why: reason(t.Err), MS: float64(t.Took.Microseconds()) / 1000, Won: t.Won})
	}
	return e
}

func shown(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func reason(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func printExplained(w io.Writer, all []explained) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NODE\tRESOLVER\tSAYS\tADDRESS\tWEIGHT\tTIME\t")
	for _, e := range all {
		for _, s := range e.Said {
			address := cmp.Or(s.Address, "-")
			if s.Port != 0 {
				address = netip.AddrPortFrom(netip.MustParseAddr(s.Address), s.Port).String()
			}
			weight := "-"
			if s.Weight != 0 {
				weight = fmt.Sprint(s.Weight)
			}
			note := cli.Printable(s.Why, 200)
			if s.Won {
				note = strings.TrimSpace("<- wins " + note)
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%.1f ms\t%s\n", e.ID, s.Resolver, strings.ReplaceAll(string(s.Outcome), "_", " "), address, weight, s.MS, note)
		}
	}
	return t.Flush()
}
