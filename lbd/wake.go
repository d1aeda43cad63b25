package lbd

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/bazbeans/bazbeans/fswatch"
	"github.com/bazbeans/bazbeans/pool"
	"github.com/bazbeans/bazbeans/render"
	"github.com/bazbeans/bazbeans/step"
)

// agenda holds the moments at which the loop has to look. Any goroutine may add to it.
type agenda struct {
	began   time.Time
	changed chan struct{} // the first moment may have come nearer

	mu    sync.Mutex
	times []time.Time // sorted
}

func newAgenda() *agenda { return &agenda{began: time.Now(), changed: make(chan struct{}, 1)} }

// grid is between two moments that are not asked for at once.
const grid = 10 * time.Millisecond

// at asks for a look at t, or up to grid later, so that a flood of events leaves a few moments and not one each. They are
// counted from when the agenda began: moments alike by the wall clock are not by the monotonic one, which compares them.
func (a *agenda) at(t time.Time) {
	a.add(a.began.Add(t.Sub(a.began).Truncate(grid) + grid))
}

// now asks for a look at once.
func (a *agenda) now() { a.add(time.Now()) }

func (a *agenda) add(t time.Time) {
	a.mu.Lock()
	i, found := slices.BinarySearchFunc(a.times, t, time.Time.Compare)
	overdue := i > 0 && !t.After(time.Now()) // one before it has come already
	if !found && !overdue {
		a.times = slices.Insert(a.times, i, t)
	}
	a.mu.Unlock()
	select {
	case a.changed <- struct{}{}:
	default:
	}
}

// clear drops all moments: while Redis is away there is nothing to look at.
func (a *agenda) clear() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.times = a.times[:0]
}

// due takes off all moments that have come, and reports whether there was any.
func (a *agenda) due(now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	i, _ := slices.BinarySearchFunc(a.times, now.Add(1), time.Time.Compare)
	a.times = slices.Delete(a.times, 0, i)
	return i > 0
}

// next is the first moment.
func (a *agenda) next() (time.Time, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.times) == 0 {
		return time.Time{}, false
	}
	return a.times[0], true
}

// lateWriters are the moments after an event without a revision at which to look again: Python publishes before it
// has written the address and the first heartbeat.
var lateWriters = []time.Duration{time.Second, 2 * time.Second, 5 * time.Second}

// hear turns what comes over the channel into looks; nothing else of it is believed.
func (l *LB) hear(w pool.Wake) {
	changed := l.board.hears(w.Deaf)
	if changed || w.Subscribed {
		l.sight.turned.Store(new(time.Now()))
	}
	if changed && w.Deaf != nil {
		l.log.Error("no events are heard: changes are seen at each resync", "error", w.Deaf)
	} else if changed {
		l.log.Info("events are heard again")
	}
	if w.Deaf != nil {
		return
	}
	l.agenda.now()
	if w.Event != nil && w.Event.Rev == 0 || w.Event == nil && !w.Subscribed {
		for _, d := range lateWriters {
			l.agenda.at(time.Now().Add(d))
		}
	}
}

// watchTemplates tells the loop when something changed in the templates folder: the folder is watched, not its files,
// because editors, kubectl cp and configmaps replace files and swap links. It may be replaced as well.
func (l *LB) watchTemplates(ctx context.Context) {
	var seen os.FileInfo
	said := false
	all := func(fsnotify.Event) bool { return true }
	fswatch.Folder(ctx, l.cfg.Templates, all, func(event bool, err error) {
		l.watched.Store(err == nil)
		info, absent := os.Stat(l.cfg.Templates)
		if absent != nil {
			info = nil // who reads it says why
		} else if err != nil && !said {
			l.log.Warn("the templates folder is not watched: changes are seen at each resync", "error", fmt.Errorf("watch %s: %w", l.cfg.Templates, err))
		}
		said = err != nil
		if event {
			select { // an editor writes in several steps
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
		if event || (info == nil) != (seen == nil) || info != nil && !os.SameFile(info, seen) {
			seen = info
			l.changed.Store(true)
			l.agenda.now()
		}
	})
	l.watched.Store(false)
}

// refreshTemplates reads the folder again: when something has changed, and at each resync. What cannot be parsed stays as
// it was.
func (l *LB) refreshTemplates() {
	now := time.Now()
	if l.watched.Load() && !l.changed.Swap(false) && now.Sub(l.readAt) < l.cfg.Timing.Resync {
		return
	}
	l.readAt = now
	set, err := render.Load(l.cfg.templatesDir(l.templates), l.templates)
	l.board.templates(err)
	l.say.change("templates", err, "a template is broken: the version before it stays in use", "all templates can be read again")
	if !set.Equal(l.templates) {
		l.log.Debug("templates changed")
		l.templates, l.refused = set, nil
		l.fails.reset()
	}
}

// backoff spaces retries: first, then doubling up to most, with jitter. A failure of something else begins anew.
type backoff struct {
	first, most time.Duration

	n    int
	hash string
	next time.Time
}

func (b *backoff) failed(now time.Time, hash string) time.Time {
	if hash != b.hash {
		b.n = 0
	}
	b.hash = hash
	pause := min(b.first<<min(b.n, 16), b.most)
	b.n++
	b.next = now.Add(pause + time.Duration(rand.Int64N(int64(pause/5))))
	return b.next
}

func (b *backoff) reset() { b.n = 0 }

// sayer logs a state when it changes and not each time that it is met.
type sayer struct {
	log  *slog.Logger
	last map[string]string
}

func newSayer(log *slog.Logger) *sayer { return &sayer{log: log, last: map[string]string{}} }

// change logs err with worse when it is new or another than before under key, and better when it is over.
func (s *sayer) change(key string, err error, worse, better string) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	was := s.last[key]
	if text == was {
		return
	}
	s.last[key] = text
	if err == nil {
		s.log.Info(better)
		return
	}
	attrs := []any{"error", text}
	if at := step.Of(err); at != "" {
		attrs = append(attrs, "step", at)
	}
	s.log.Error(worse, attrs...)
}
