package lbd

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"

	"github.com/bazbeans/bazbeans/lbd/live/names"
	"github.com/bazbeans/bazbeans/lbd/nginx"
	"github.com/bazbeans/bazbeans/render"
)

// generationsKept is how many verified generations stay in state_dir.
const generationsKept = 5

// saved is a generation that went into Nginx, whole: what a restart begins with, and what a rollback goes back to.
type saved struct {
	generation
	Rev       int64           `json:"rev"`      // of the pool, when it went in
	At        time.Time       `json:"at"`       // when it was proven, or installed
	Verified  bool            `json:"verified"` // false: Nginx was not running, it only passed the test
	Upstreams []savedUpstream `json:"upstreams"`
}

// savedUpstream is one upstream of a saved generation.
type savedUpstream struct {
	Name    string          `json:"name"`
	Output  string          `json:"output"`
	Text    []byte          `json:"text"` // the file's content
	Servers []render.Server `json:"servers"`
}

// upstream returns the part of g that is u's, if it was written to the file that u is written to now.
func (g *saved) upstream(u *upstream) (savedUpstream, bool) {
	if g == nil {
		return savedUpstream{}, false
	}
	for _, s := range g.Upstreams {
		if s.Name == u.Name && s.Output == u.Output {
			return s, true
		}
	}
	return savedUpstream{}, false
}

// covers returns an error when g lacks one of the upstreams of today's config: going back to it would leave that one as it is.
func (g *saved) covers(today []UpstreamConfig) error {
	for _, c := range today {
		if _, ok := g.upstream(&upstream{UpstreamConfig: c}); !ok {
			return fmt.Errorf("generation %d has no upstream %s in %s: put the config back that it was made with", g.N, c.Name, c.Output)
		}
	}
	return nil
}

// asks returns an error when Nginx would ask lbd for the servers of g, as with nginx.live: resolve, and lbd does not answer:
// Nginx would have nobody to send to.
func (g *saved) asks(answers bool) error {
	for _, s := range g.Upstreams {
		if asked(s.Text) && !answers {
			return fmt.Errorf("generation %d was made with nginx.live: resolve, and lbd does not answer nginx's questions now: put nginx.apply and nginx.live back as they were", g.N)
		}
	}
	return nil
}

// asked reports whether Nginx asks lbd for the servers of an output.
func asked(text []byte) bool {
	_, upstreams, err := names.Strip(text)
	return err == nil && len(upstreams) > 0
}

// put fills p with g as far as the upstreams of today's config are in it.
func (g *saved) put(p *Plan, upstreams []*upstream) {
	p.Files, p.Sets = nil, map[string][]render.Server{}
	for _, u := range upstreams {
		if s, ok := g.upstream(u); ok {
			p.Files = append(p.Files, nginx.File{Path: s.Output, Data: s.Text})
			p.Sets[u.Name] = s.Servers
		}
	}
	p.hash = hashOf(p.Files)
}

// archive keeps generations in a folder of state_dir: the last verified ones in N.json, and in installed.json one that was
// installed while Nginx was not running, or could not wait for its turn to be kept.
type archive struct{ dir string }

func archiveIn(stateDir string) archive { return archive{dir: filepath.Join(stateDir, "generations")} }

func (a archive) path(g *saved) string {
	if !g.Verified {
		return a.installed()
	}
	return a.verified(g.N)
}

func (a archive) installed() string { return filepath.Join(a.dir, "installed.json") }

func (a archive) verified(n int64) string { return filepath.Join(a.dir, fmt.Sprintf("%d.json", n)) }

// put writes g, whole or not at all, and drops what is older than the last verified ones; pinned stays.
func (a archive) put(g *saved, pinned int64) error {
	if err := a.write(a.path(g), g); err != nil {
		return err
	}
	numbers, err := a.numbers()
	errs := []error{err}
	for i, n := range numbers {
		if i >= generationsKept && n != pinned {
			errs = append(errs, os.Remove(a.verified(n)))
		}
	}
	return errors.Join(errs...)
}

// note writes g beside those that are kept, for a restart alone: the next put takes its place.
func (a archive) note(g *saved) error { return a.write(a.installed(), g) }

// write writes g. The error is the same for each generation, as far as the cause is.
func (a archive) write(path string, g *saved) error {
	text, err := json.Marshal(g)
	if err != nil {
		return fmt.Errorf("encode generation %d: %w", g.N, err)
	}
	if err = os.MkdirAll(a.dir, 0o700); err == nil {
		err = writeState(path, text)
	}
	if p := new(fs.PathError); errors.As(err, &p) {
		err = p.Err
	}
	if err != nil {
		return fmt.Errorf("keep generations in %s: %w", a.dir, err)
	}
	return nil
}

// numbers are those of the verified generations there are, newest first.
func (a archive) numbers() ([]int64, error) {
	entries, err := os.ReadDir(a.dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("list generations: %w", err)
	}
	var numbers []int64
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".json")
		if n, err := strconv.ParseInt(name, 10, 64); ok && err == nil && n > 0 {
			numbers = append(numbers, n)
		}
	}
	slices.SortFunc(numbers, func(a, b int64) int { return cmp.Compare(b, a) })
	return numbers, nil
}

// get reads one verified generation.
func (a archive) get(n int64) (*saved, error) {
	g, err := readSaved(a.verified(n))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("generation %d is not kept (see lbd rollback --list)", n)
	}
	if err == nil && g.N != n {
		err = fmt.Errorf("%s is of generation %d", a.verified(n), g.N)
	}
	return g, err
}

func readSaved(path string) (*saved, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var g saved
	if err := json.Unmarshal(text, &g); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &g, nil
}

// list returns the verified generations that can be read, newest first, and what is wrong with the others.
func (a archive) list() (all []*saved, err error) {
	numbers, err := a.numbers()
	errs := []error{err}
	for _, n := range numbers {
		g, err := a.get(n)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		all = append(all, g)
	}
	return all, errors.Join(errs...)
}

// newest returns the generation that went in last; nil when there is none. Beside an error it may return an older one.
func (a archive) newest() (newest *saved, err error) {
	numbers, err := a.numbers()
	errs := []error{err}
	for _, n := range numbers {
		if newest, err = a.get(n); err == nil {
			break
		}
		errs = append(errs, err)
	}
	installed, err := readSaved(a.installed())
	switch {
	case err == nil && (newest == nil || installed.N > newest.N):
		newest = installed
	case err != nil && !errors.Is(err, os.ErrNotExist):
		errs = append(errs, err)
	}
	return newest, errors.Join(errs...)
}

// keep notes what p came to as the last generation that is good; save saves it.
func (l *LB) keep(p *Plan, verified bool) {
	g := &saved{generation: l.running, Rev: p.Rev, At: time.Now().UTC(), Verified: verified}
	for _, u := range l.upstreams {
		i := slices.IndexFunc(p.Files, func(f nginx.File) bool { return f.Path == u.Output })
		if i >= 0 {
			g.Upstreams = append(g.Upstreams, savedUpstream{Name: u.Name, Output: u.Output, Text: p.Files[i].Data, Servers: p.Sets[u.Name]})
		} else if former, ok := l.last.upstream(u); ok { // it was left as it was
			g.Upstreams = append(g.Upstreams, former)
		}
	}
	for _, o := range l.orphans {
		g.Upstreams = append(g.Upstreams, o.savedUpstream)
	}
	if old := l.last; old != nil && l.lastKept && old.generation == g.generation && old.Verified == g.Verified && reflect.DeepEqual(old.Upstreams, g.Upstreams) {
		return
	}
	l.last, l.lastKept, l.unsaved = g, false, cmp.Or(l.unsaved, l.last)
}

// save puts the last generation that is good into the archive, if it is not in it: as often as Nginx may be reloaded,
// since live changes may come much faster.
func (l *LB) save() {
	g, now := l.last, time.Now()
	if g == nil || l.lastKept || now.Before(l.saveNext) {
		return
	}
	err := l.archive.put(g, l.pin.number())
	l.recorded(g, err)
	if old := l.unsaved; err == nil && old != nil && old.N != g.N && old.Hash == g.Hash && old.N != l.pin.number() {
		_ = os.Remove(l.archive.path(old)) // it is the same, under a former number
	}
	if l.lastKept, l.saveNext = err == nil, now.Add(l.cfg.Timing.MinInterval); l.lastKept {
		l.unsaved = nil
	} else {
		l.saveNext = now.Add(max(l.cfg.Timing.MinInterval, time.Second))
	}
	l.say.change("memory", err, l.unremembered(), "what is served is remembered again")
}

// writeState writes a file of state_dir, whole or not at all. Root, who may speak for an lbd that is another user, gives it
// to that user. The error names path, and not the temporary file, which is another one each time.
func writeState(path string, text []byte) (err error) {
	defer func() {
		p, l := new(fs.PathError), new(os.LinkError)
		switch {
		case errors.As(err, &p):
			err = &fs.PathError{Op: p.Op, Path: path, Err: p.Err}
		case errors.As(err, &l):
			err = &fs.PathError{Op: l.Op, Path: path, Err: l.Err}
		}
	}()
	dir := filepath.Dir(path)
	f, err := renameio.NewPendingFile(path, renameio.WithTempDir(dir), renameio.WithPermissions(0o600), renameio.WithExistingPermissions())
	if err != nil {
		return err
	}
	defer f.Cleanup()
	if _, err := f.Write(text); err != nil {
		return err
	}
	var owner unix.Stat_t
	if err := unix.Stat(dir, &owner); err == nil && os.Geteuid() == 0 && owner.Uid != 0 {
		_ = f.Chown(int(owner.Uid), int(owner.Gid)) // as far as we may: who can't read it says so
	}
	return f.CloseAtomicallyReplace()
}
