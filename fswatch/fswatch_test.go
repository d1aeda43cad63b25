package fswatch_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
	"go.uber.org/goleak"

	"github.com/bazbeans/bazbeans/fswatch"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// looks are the calls of one Folder.
type looks struct {
	t    *testing.T
	call chan call
}

type call struct {
	event bool
	err   error
}

// watch follows a folder for the test; what is called *.tmp does not count.
func watch(t *testing.T, dir string) looks {
	t.Helper()
	l := looks{t, make(chan call, 100_000)}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		counts := func(e fsnotify.Event) bool { return !strings.HasSuffix(e.Name, ".tmp") }
		fswatch.Folder(ctx, dir, counts, func(event bool, err error) { l.call <- call{event, err} })
	}()
	t.Cleanup(func() { cancel(); <-ended })
	l.until("the first look", func(c call) bool { return !c.event })
	return l
}

// until returns the first call that is one of those.
func (l looks) until(name string, is func(call) bool) call {
	l.t.Helper()
	late := time.After(time.Minute)
	for {
		select {
		case c := <-l.call:
			if is(c) {
				return c
			}
		case <-late:
			l.t.Fatalf("%s never came", name)
		}
	}
}

func told(c call) bool    { return c.event && c.err == nil }
func watched(c call) bool { return c.err == nil }

// quiet waits until two looks in a row were for nothing but the time, and had the folder. Those of before count for
// nothing, but for one that may be under way.
func (l looks) quiet() {
	for len(l.call) > 0 {
		<-l.call
	}
	last := call{event: true}
	l.until("a time of quiet", func(c call) bool {
		was := last
		last = c
		return was == call{} && c == call{}
	})
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, elem ...string) {
	t.Helper()
	must(t, os.WriteFile(filepath.Join(elem...), []byte("x"), 0o600))
}

func TestEventsThatCount(t *testing.T) {
	dir := t.TempDir()
	l := watch(t, dir)
	put(t, dir, "a.tmp")
	for range 2 {
		if c := l.until("a look", func(call) bool { return true }); c != (call{}) {
			t.Errorf("a file that does not count: %+v", c)
		}
	}
	put(t, dir, "a")
	l.until("an event", told)
}

// However a folder is replaced, what is written into the new one is told.
func TestAFolderThatIsReplaced(t *testing.T) {
	for name, replace := range map[string]func(t *testing.T, dir, other string){
		"moved aside, another in its place": func(t *testing.T, dir, other string) {
			must(t, os.Rename(dir, dir+".old"), os.Rename(other, dir))
		},
		"removed and made again": func(t *testing.T, dir, _ string) {
			must(t, os.RemoveAll(dir), os.Mkdir(dir, 0o700))
		},
		"moved aside and removed, many times": func(t *testing.T, dir, _ string) {
			for range 200 {
				put(t, dir, "b")
				must(t, os.Rename(dir, dir+".old"), os.RemoveAll(dir+".old"), os.Mkdir(dir, 0o700))
			}
		},
		"a link that leads elsewhere now": func(t *testing.T, dir, other string) {
			link := filepath.Join(filepath.Dir(dir), "link")
			must(t, os.Symlink(other, link), os.Rename(link, dir))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			top := t.TempDir()
			dir, first, other := filepath.Join(top, "dir"), filepath.Join(top, "first"), filepath.Join(top, "other")
			must(t, os.Mkdir(other, 0o700))
			if strings.Contains(name, "link") {
				must(t, os.Mkdir(first, 0o700), os.Symlink(first, dir))
			} else {
				must(t, os.Mkdir(dir, 0o700))
			}
			l := watch(t, dir)
			replace(t, dir, other)
			l.quiet()
			put(t, dir, "a")
			l.until("an event of the new folder", told)
		})
	}
}

func TestAFolderThatIsNotThere(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "later")
	l := watch(t, dir)
	if c := l.until("a look", func(call) bool { return true }); !errors.Is(c.err, fs.ErrNotExist) {
		t.Errorf("%+v", c)
	}
	must(t, os.Mkdir(dir, 0o700))
	l.until("a look that has it", watched)
	put(t, dir, "a")
	l.until("an event", told)
	must(t, os.RemoveAll(dir))
	l.until("a look without it", func(c call) bool { return errors.Is(c.err, fs.ErrNotExist) })
}
