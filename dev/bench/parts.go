package main

import (
	"context"
	"fmt"
	"io"
)

// parts are what is measured besides the turns of the contenders; each is nil when it was not.
type parts struct {
	Throughput []*throughput `json:"throughput,omitempty"`
	Peers      []*peerCost   `json:"peers,omitempty"`
	Updates    *updates      `json:"updates,omitempty"`
}

// measureParts measures those that o names, each on servers of its own that end with it.
func (res *results) measureParts(ctx context.Context, s *site, o options, log io.Writer) error {
	for _, part := range []struct {
		name    string
		measure func(*site) error
	}{
		{partThroughput, func(s *site) (err error) { res.Parts.Throughput, err = measureThroughput(ctx, s, o, log); return }},
		{partPeers, func(s *site) (err error) { res.Parts.Peers, err = measurePeers(ctx, s, o, log); return }},
		{partUpdates, func(s *site) (err error) { res.Parts.Updates, err = measureUpdates(ctx, s, o, log); return }},
	} {
		if !o.does(part.name) {
			continue
		}
		if err := s.within(part.measure); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return nil
}
