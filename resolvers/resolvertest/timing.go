package resolvertest

import (
	"context"
	"errors"
	"time"
)

// cancelled: a ctx that has ended makes no node "not mine".
func cancelled(s *subject) error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	got, err := s.ask(ctx, s.nodes(s.named()...))
	if err != nil {
		return err
	}
	return errors.Join(s.inTime(got), s.learn(s.named()...))
}

// hang: a source that does not answer costs the time that there is, and no node.
func hang(s *subject) error {
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	got, err := s.ask(ctx, s.nodes(s.named()...))
	if err != nil {
		return err
	}
	return s.inTime(got)
}

// hangThenCancel: a ctx that is cancelled ends a call that hangs.
func hangThenCancel(s *subject) error {
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(20*time.Millisecond, cancel)
	got, err := s.ask(ctx, s.nodes(s.named()...))
	if err != nil {
		return err
	}
	return s.inTime(got)
}

// hangThenClose: Close ends what hangs, also when a call that outlived its ctx may still run.
func hangThenClose(s *subject) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	done := make(chan error, 1)
	go func() { _, err := s.ask(ctx, s.nodes(s.named()...)); done <- err }()
	<-ctx.Done()
	return errors.Join(s.close(), <-done)
}
