package ctl

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/bazbeans/bazbeans/pool"
)

// checksum is of which nodes a run is for.
func checksum(c *choice) string {
	words := []string{"args", strings.Join(slices.Sorted(slices.Values(c.args)), " "), "dc", strings.Join(slices.Sorted(slices.Values(c.dc)), " ")}
	for _, k := range slices.Sorted(maps.Keys(c.labels)) {
		words = append(words, k, c.labels[k])
	}
	sum := sha256.Sum256([]byte(strings.Join(words, "\x00")))
	return base32.StdEncoding.EncodeToString(sum[:])[:3]
}

// findRun returns the run that is named, else the one that has a node in hand, else the newest one of the nodes' last
// commands that was for these nodes.
func findRun(ctx context.Context, pl *pool.Pool, name, sum string, nodes []*pool.Node) (string, error) {
	if name != lastRun {
		return name, nil
	}
	var runs []string
	for _, n := range nodes {
		if n.Freeze == nil {
			continue
		}
		if run := runOf(n.Freeze.Reason); run != "" && strings.HasSuffix(run, sum) && !slices.Contains(runs, run) {
			runs = append(runs, run)
		}
	}
	if len(runs) > 1 {
		return "", fmt.Errorf("more than one run has stopped: say which, --resume=%s", strings.Join(runs, " or --resume="))
	}
	if len(runs) == 1 {
		return runs[0], nil
	}
	var newest pool.Result
	err := eachUpdate(ctx, pl, nodes, func(run string, r pool.Result) {
		if strings.HasSuffix(run, sum) && r.Queued.After(newest.Queued) {
			newest = r
		}
	})
	if err == nil && newest.ID == "" {
		err = fmt.Errorf("no run of update is known for these nodes (redis remembers for a day): begin one without --resume")
	}
	return strings.Split(newest.ID, "-")[0], err
}

// sentBy returns the newest update command of a run for each node that has one. Redis keeps their order; the times in them
// are of the clocks of whoever went on with the run.
func sentBy(ctx context.Context, pl *pool.Pool, run string, nodes []*pool.Node) (map[string]pool.Result, error) {
	sent := map[string]pool.Result{}
	err := eachUpdate(ctx, pl, nodes, func(of string, r pool.Result) {
		if _, newer := sent[r.Node]; of == run && !newer {
			sent[r.Node] = r
		}
	})
	return sent, err
}

// eachUpdate calls fn for each update command of a run, those of one node the newest first.
func eachUpdate(ctx context.Context, pl *pool.Pool, nodes []*pool.Node, fn func(run string, r pool.Result)) error {
	all := make([][]pool.Result, len(nodes))
	var g errgroup.Group
	g.SetLimit(8) // Redis may be far away
	for i, n := range nodes {
		g.Go(func() (err error) {
			all[i], err = pl.LastCommands(ctx, n.ID, 50)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i, n := range nodes {
		for _, r := range all[i] {
			if m := idRule.FindStringSubmatch(r.ID); m != nil && r.Type == "update" && r.Node == n.ID {
				fn(m[1], r)
			}
		}
	}
	return nil
}
