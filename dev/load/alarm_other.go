//go:build !linux

package load

import (
	"sync"
	"time"
)

// alarm lets one goroutine sleep, as precisely as Go's timers do.
type alarm struct {
	over chan struct{}
	once sync.Once
}

func newAlarm() (*alarm, error) { return &alarm{over: make(chan struct{})}, nil }

// sleep returns after d, or earlier once wake was called.
func (a *alarm) sleep(d time.Duration) {
	select {
	case <-time.After(d):
	case <-a.over:
	}
}

// wake ends this sleep and all later ones. Any goroutine may call it.
func (a *alarm) wake() { a.once.Do(func() { close(a.over) }) }

func (a *alarm) close() {}
