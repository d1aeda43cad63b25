package resolvers

import (
	"context"
	"os"
	"path/filepath"
	"sync"

	"github.com/fsnotify/fsnotify"

	"github.com/bazbeans/bazbeans/fswatch"
)

// watch tells when a file may have changed. The file's folder is watched, and not the file, because editors, configmaps
// and kubectl cp replace files and swap links. Once a second it looks at the file, too.
type watch struct {
	path    string
	changed chan struct{} // holds one value

	mu     sync.Mutex
	cancel context.CancelFunc // nil: not begun
	ended  chan struct{}
	closed bool
}

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
	// A second change within a tick of the file's clock can't be told from the first but by its event.
	ours := func(e fsnotify.Event) bool {
		return e.Name == filepath.Join(dir, filepath.Base(w.path)) && !e.Op.Has(fsnotify.Chmod)
	}
	var seen os.FileInfo
	fswatch.Folder(ctx, dir, ours, func(event bool, _ error) { // a folder that can't be watched is looked at
		info, err := os.Stat(w.path)
		if err != nil {
			info = nil
		}
		if event || (info == nil) != (seen == nil) || info != nil && !same(info, seen) {
			seen = info
			w.tell()
		}
	})
}

func (w *watch) tell() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}
