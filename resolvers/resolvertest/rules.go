package resolvertest

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/bazbeans/bazbeans/pool"
	"github.com/bazbeans/bazbeans/resolvers"
)

// rule is one demand of the contract.
type rule struct {
	name  string
	check func(*subject) error
	hangs bool            // it looks at the case's Hang
	needs func(Case) bool // nil: every resolver must keep it
}

func (r rule) applies(c Case) bool {
	return (r.needs == nil || r.needs(c)) && (!r.hangs || c.Hang != nil)
}

// rules are all demands; change is the last, for the source is another after it.
var rules = []rule{
	{name: "outcomes", check: outcomes},
	{name: "batch", check: batch},
	{name: "none", check: none},
	{name: "many", check: many},
	{name: "answers", check: answersAreWhole},
	{name: "nodes", check: nodesAreLeftAlone},
	{name: "keep", check: answersAreTheCallers},
	{name: "cancelled", check: cancelled},
	{name: "hang", check: hang, hangs: true},
	{name: "hang then cancel", check: hangThenCancel, hangs: true},
	{name: "hang then close", check: hangThenClose, hangs: true},
	{name: "chain", check: throughAChain},
	{name: "notifier", check: notifier},
	{name: "two", check: two},
	{name: "shared", check: shared, needs: func(c Case) bool { return c.Shared }},
	{name: "change", check: change, needs: func(c Case) bool { return c.Change != nil }},
}

// outcomes: each node, asked about alone, has its outcome; at the second time, too.
func outcomes(s *subject) error {
	for range 2 {
		for _, id := range s.named() {
			if err := s.learn(id); err != nil {
				return err
			}
		}
	}
	return nil
}

// batch: all nodes together have the same outcomes as alone: a source that fails for one leaves the others theirs.
func batch(s *subject) error { return s.learn(s.named()...) }

// none: a batch of no nodes is nothing special.
func none(s *subject) error {
	for _, nodes := range [][]pool.Node{nil, {}} {
		ctx, cancel := context.WithTimeout(context.Background(), resolvers.Timeout)
		_, err := s.ask(ctx, nodes)
		cancel()
		if err != nil {
			return err
		}
	}
	return nil
}

// many: the nodes of the case have their outcomes in a large batch, too.
func many(s *subject) error {
	ids := s.named()
	for i := len(ids); i < s.Most; i++ {
		ids = append(ids, fmt.Sprintf("resolvertest-%05d", i))
	}
	return s.learn(ids...)
}

// answersAreWhole: an answer has an address or an error.
func answersAreWhole(s *subject) error {
	ctx, cancel := context.WithTimeout(context.Background(), resolvers.Timeout)
	defer cancel()
	got, err := s.ask(ctx, s.nodes(s.named()...))
	if err != nil {
		return err
	}
	for id, a := range got.Answers {
		if !a.Addr.IsValid() && a.Err == nil {
			return fmt.Errorf("its answer for %s has neither address nor error: leave out a node that is not its own", id)
		}
	}
	return nil
}

// nodesAreLeftAlone: nodes are not changed, and not looked at once Resolve has returned (-race sees that).
func nodesAreLeftAlone(s *subject) error {
	given, want := s.nodes(s.named()...), s.nodes(s.named()...)
	ctx, cancel := context.WithTimeout(context.Background(), resolvers.Timeout)
	defer cancel()
	if _, err := s.ask(ctx, given); err != nil {
		return err
	}
	if !reflect.DeepEqual(given, want) {
		return errors.New("it changes the nodes that it is asked about")
	}
	for i := range given {
		given[i] = pool.Node{ID: "resolvertest-gone"}
	}
	return s.learn(s.named()...)
}

// answersAreTheCallers: what the caller does with the answers does not come back in later ones.
func answersAreTheCallers(s *subject) error {
	if err := s.learn(s.named()...); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), resolvers.Timeout)
	defer cancel()
	got, err := s.ask(ctx, s.nodes(s.named()...))
	if err != nil {
		return err
	}
	for id := range got.Answers {
		got.Answers[id] = resolvers.Answer{Err: errors.New("written by the caller")}
	}
	if err := s.learn(s.named()...); err != nil {
		return fmt.Errorf("after the caller has changed its answers: %w", err)
	}
	return nil
}
