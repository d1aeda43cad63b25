// Package fswatch tells when something in a folder has changed.
package fswatch

import (
	"context"
	"os"
	"time"

	"github.com/fsnotify/fsnotify"
)

// every is between two looks without an event: for what no event tells of, a link that leads into another folder, a file
// on another host, a system that has no watches left.
const every = time.Second

// Folder calls look until ctx ends: at once, every second, and soon after the system told of an event that counts or lost
// some (event). Events that come while look runs make one more call. The folder is watched anew before each, for it may
// have been replaced; err says why it is not watched, as while it is not there. All calls are from this goroutine; counts
// is called from another one.
func Folder(ctx context.Context, dir string, counts func(fsnotify.Event) bool, look func(event bool, err error)) {
	told := make(chan struct{}, 1)
	var w *fsnotify.Watcher // nil until the folder was there: many have none
	ended := make(chan struct{})
	defer func() {
		if w != nil {
			_ = w.Close() // it was only read
			<-ended
		}
	}()
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for event := false; ; {
		_, err := os.Stat(dir)
		if err == nil && w == nil {
			if w, err = fsnotify.NewWatcher(); err == nil {
				go func() { // it never waits for Add, which waits for one who takes errors
					defer close(ended)
					receive(w, counts, told)
				}()
			}
		}
		if err == nil {
			err = w.Add(dir)
		}
		look(event, err)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			event = false
		case <-told:
			event = true
		}
	}
}

// receive takes what w has until it is closed.
func receive(w *fsnotify.Watcher, counts func(fsnotify.Event) bool, told chan<- struct{}) {
	for {
		select {
		case e, ok := <-w.Events:
			if !ok {
				return
			}
			if !counts(e) {
				continue
			}
		case _, ok := <-w.Errors: // an overflow, most likely
			if !ok {
				return
			}
		}
		select {
		case told <- struct{}{}:
		default:
		}
	}
}
