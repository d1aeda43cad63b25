package resolvers

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

// watch tells when a file may have changed. The file's folder is watched, and not the file, because editors, configmaps
// and kubectl cp replace files and swap links. Once a second it looks at the file, too: for what no event tells of, a
// link that leads into another folder, a file on another host, a system that has no watches left.
type watch struct {
	path    string
	changed chan struct{} // holds one value

	mu     sync.Mutex
	cancel context.CancelFunc // nil: not begun
	ended  chan struct{}
	closed bool
}

// lookEvery is how often the file is looked at without an event.
const lookEvery = time.Second

// start begins to watch, once.
func (w *watch) start() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || w.cancel != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background()) // ended by stop
	w.cancel, w.ended = cancel, make(chan struct{})
	go func() {
		defer close(w.ended)
		w.run(ctx)
	}()
}

// stop ends watching, for good.
func (w *watch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	if w.cancel != nil {
		w.cancel()
		<-w.ended
	}
}

func (w *watch) run(ctx context.Context) {
	dir := filepath.Dir(w.path)
	var events chan fsnotify.Event // nil: none come
	var errs chan error
	folder, err := fsnotify.NewWatcher()
	if err == nil {
		defer folder.Close() // nothing to be done about it
		events, errs = folder.Events, folder.Errors
	}
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	var seen os.FileInfo
	for {
		if folder != nil {
			_ = folder.Add(dir) // anew, in case that the folder was replaced; one that can't be watched is looked at
		}
		info, err := os.Stat(w.path)
		if err != nil {
			info = nil
		}
		if (info == nil) != (seen == nil) || info != nil && !same(info, seen) {
			seen = info
			w.tell()
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case e := <-events:
			// A second change within a tick of the file's clock can't be told from the first but by its event.
			if e.Name == filepath.Join(dir, filepath.Base(w.path)) && !e.Op.Has(fsnotify.Chmod) {
				w.tell()
			}
		case <-errs: // an overflow: what it lost is seen at the next look
		}
	}
}

func (w *watch) tell() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}
