package ctl

import (
	"context"
	"fmt"
	"strings"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/pool"
)

// nodeIDs returns every node's id.
func nodeIDs(ctx context.Context, p *pool.Pool) (ids []string, err error) {
	snap, err := p.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	return idsOf(snap.Nodes), nil
}

func idsOf(nodes []pool.Node) (ids []string) {
	for i := range nodes {
		ids = append(ids, nodes[i].ID)
	}
	return ids
}

// nearest adds the nearest names to pool's error; without them when Redis fails: they are only a hint.
func nearest(ctx context.Context, p *pool.Pool, id string, err error) error {
	ids, _ := nodeIDs(ctx, p)
	return &cli.Error{Code: cli.NoNode, Err: fmt.Errorf("%w%s", err, didYouMean(id, ids, "bbctl list-nodes"))}
}

// didYouMean is the hint for a name that does not exist: the nearest that do, or the command that lists all.
func didYouMean(name string, names []string, list string) string {
	const most = 3 // hints
	name = strings.ToLower(name)
	far := min(2, len(name)/2) // no farther than that
	var near []string
	for _, n := range names {
		d := distance(name, strings.ToLower(n))
		if strings.HasPrefix(strings.ToLower(n), name) {
			d = min(d, 1)
		}
		if d < far {
			far, near = d, nil
		}
		if d == far && len(near) < most {
			near = append(near, n)
		}
	}
	if len(near) == 0 {
		return " (see " + list + ")"
	}
	return ": did you mean " + or(near) + "?"
}

// distance is Levenshtein's, on bytes: ids are ASCII.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
