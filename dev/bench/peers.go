package main

import (
	"context"
	"fmt"
	"io"
)

// A small and a large upstream.
const (
	fewPeers  = 10
	manyPeers = 1000
)

// peerCost is what a request costs the front's processors with many peers beside few.
type peerCost struct {
	Balance string  `json:"balance"`
	Engine  string  `json:"engine"` // "static": the peers are in the configuration
	Few     []burst `json:"few"`
	Many    []burst `json:"many"`
	CPU     ratio   `json:"cpu_ratio"` // many over few, the median of the pairs
}

// measurePeers measures without keep-alive to the nodes: with it, Nginx would nearly always find a connection to one of
// few peers and hardly ever to one of many, and the connections would cost more than the choice.
func measurePeers(ctx context.Context, s *site, o options, log io.Writer) ([]*peerCost, error) {
	many, err := startCrowd(ctx, s, manyPeers)
	if err != nil {
		return nil, err
	}
	few := many[:fewPeers]
	web := webOptions{lua: true, most: 8192, spread: true}
	var fronts []front
	var list []*peerCost
	for _, balance := range []string{"least_conn", "round_robin"} {
		u := upstream{balance: balance}
		for _, c := range []crowd{few, many} {
			f, err := c.fixed(ctx, s, fmt.Sprintf("peers-static-%s-%d", balance, len(c)), u, web)
			if err != nil {
				return nil, err
			}
			fronts = append(fronts, f)
		}
		for _, c := range []crowd{few, many} {
			f, _, err := c.live(ctx, s, fmt.Sprintf("peers-lua-%s-%d", balance, len(c)), u, byLua, web, o.lbd)
			if err != nil {
				return nil, err
			}
			fronts = append(fronts, f)
		}
		list = append(list, &peerCost{Balance: balance, Engine: "static"}, &peerCost{Balance: balance, Engine: laneLua})
	}
	runs, err := inTurn(ctx, fronts, "/", (o.Pairs+1)/2, o, log, partPeers)
	if err != nil {
		return nil, err
	}
	for i, p := range list {
		p.Few, p.Many = runs[2*i], runs[2*i+1]
		p.CPU = ratioOfPairs(costs(p.Many), costs(p.Few))
	}
	return list, nil
}
