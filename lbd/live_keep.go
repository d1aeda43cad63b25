package lbd

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/bazbeans/bazbeans/lbd/nginx"
)

// keeper writes the files of what is served live, for an Nginx that is started or reloaded later: the newest alone, at most
// one in a while, and beside the loop, which must not wait for `nginx -t`.
type keeper struct {
	nginx interface {
		Keep(ctx context.Context, files []nginx.File, generation int64) error
	}
	ready func() error // before each test
	every time.Duration
	log   *slog.Logger

	mu      sync.Mutex
	next    *toKeep
	busy    chan struct{} // closed at the end of the writing under way; nil: none is
	hurry   chan struct{} // closed when that shall not wait
	last    time.Time
	written int64
	err     error // why the last one could not be written
}

type toKeep struct {
	files      []nginx.File
	generation int64
}

const (
	keepTimeout  = time.Minute
	closeTimeout = 5 * time.Second
)

func newKeeper(n *nginx.Nginx, ready func() error, every time.Duration, log *slog.Logger) *keeper {
	return &keeper{nginx: n, ready: ready, every: every, log: log}
}

// write has files written soon.
func (k *keeper) write(files []nginx.File, generation int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.next = &toKeep{files, generation}
	if k.busy == nil {
		k.busy, k.hurry = make(chan struct{}), make(chan struct{})
		go k.run(time.Until(k.last.Add(k.every)), k.hurry)
	}
}

// run writes until there is nothing newer.
func (k *keeper) run(pause time.Duration, hurry <-chan struct{}) {
	for {
		select {
		case <-time.After(pause):
		case <-hurry:
		}
		k.mu.Lock()
		job := k.next
		k.next = nil
		if job == nil {
			close(k.busy)
			k.busy = nil
			k.mu.Unlock()
			return
		}
		k.mu.Unlock()

		ctx, cancel := context.WithTimeout(context.Background(), keepTimeout)
		err := k.ready()
		if err == nil {
			err = k.nginx.Keep(ctx, job.files, job.generation)
		}
		cancel()

		k.mu.Lock()
		if text := errorText(err); text != errorText(k.err) {
			if err != nil && !errors.Is(err, nginx.ErrUnproven) { // the next look finds out what became of it
				k.log.Error("the files on disk are behind what nginx serves live", "error", err)
			} else if err == nil {
				k.log.Info("the files on disk are what nginx serves again")
			}
		}
		if k.err = err; err == nil {
			k.written = job.generation
		}
		k.last, pause = time.Now(), k.every
		if k.next == nil {
			pause = 0
		}
		k.mu.Unlock()
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// writing reports whether files have yet to be written.
func (k *keeper) writing() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.busy != nil
}

// idle returns when all is written, or can't be.
func (k *keeper) idle() {
	k.mu.Lock()
	busy := k.busy
	if busy != nil {
		k.rush()
	}
	k.mu.Unlock()
	if busy != nil {
		<-busy
	}
}

// rush ends the pauses of the writing under way; mu is held.
func (k *keeper) rush() {
	select {
	case <-k.hurry:
	default:
		close(k.hurry)
	}
}

// drop forgets what is still to be written, and waits for what is being written.
func (k *keeper) drop() {
	k.mu.Lock()
	k.next = nil
	k.mu.Unlock()
	k.idle()
}

// wrote notes that a reload has written a generation.
func (k *keeper) wrote(generation int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.written, k.err, k.last = generation, nil, time.Now()
}

// state returns the generation on disk as far as it is known, and why it is not the last one.
func (k *keeper) state() (written int64, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.written, k.err
}

// close writes what is still to be written.
func (k *keeper) close() error {
	done := make(chan struct{})
	go func() { k.idle(); close(done) }()
	select {
	case <-done:
		_, err := k.state()
		if errors.Is(err, nginx.ErrUnproven) { // somebody else has touched it; it is what it is
			err = nil
		}
		return err
	case <-time.After(closeTimeout):
		k.mu.Lock()
		k.next = nil // whoever comes after us has other files
		k.mu.Unlock()
		return errors.New("the files on disk could not be written in time: they are behind what nginx serves live")
	}
}
