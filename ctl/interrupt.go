package ctl

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// secondSignal returns a context that the second SIGINT or SIGTERM ends, and not the first, which ends ctx.
func secondSignal(ctx context.Context) (context.Context, func()) {
	hard, cancel := context.WithCancel(context.WithoutCancel(ctx))
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		for n := 0; n < 2; n++ {
			select {
			case <-signals:
			case <-hard.Done():
				return
			}
		}
		cancel()
	}()
	return hard, func() {
		signal.Stop(signals)
		cancel()
	}
}
