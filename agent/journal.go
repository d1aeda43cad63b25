package agent

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/bazbeans/bazbeans/pool"
)

// journal remembers which commands were begun, and what they came to until Redis knows it. It is on the disk before a
// command runs, so that an agent that was killed neither runs one twice nor forgets that it ran.
//
// The file holds one JSON entry a line, the last of an id counts. A journal without a file remembers for this run only.
type journal struct {
	mu      sync.Mutex
	path    string
	file    *os.File // nil: none
	written int64    // bytes in the file
	limit   int64    // bytes at which it is written anew
	damaged int      // lines that could not be read
	entries map[string]entry
}

// entry is what is known of one command. Ended without Result: Redis knows what it came to.
type entry struct {
	ID     string       `json:"id"`
	Type   string       `json:"type,omitempty"`
	By     string       `json:"by,omitempty"`
	Begun  time.Time    `json:"begun"`
	Keep   time.Time    `json:"keep"` // until then the id is refused
	Ended  bool         `json:"ended,omitempty"`
	Result *pool.Result `json:"result,omitempty"` // not told yet
}

const (
	journalMost   = 20000    // entries; about 300 bytes each
	journalSpare  = 1 << 20  // bytes of a file that are not worth writing it anew
	journalLength = 64 << 20 // bytes of a file that is read at all
)

func newJournal() *journal { return &journal{entries: map[string]entry{}} }

// openJournal reads the file, if there is one, and writes it anew with what is still worth knowing. A last line that
// was cut by a crash is left out; other damaged ones are counted.
func openJournal(path string, now time.Time) (*journal, error) {
	j := newJournal()
	j.path = path
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	if len(b) > journalLength {
		return nil, fmt.Errorf("read journal: %s has %d bytes, which is not by this agent", path, len(b))
	}
	b = b[:bytes.LastIndexByte(b, '\n')+1]
	for line := range bytes.Lines(b) {
		var e entry
		if err := json.Unmarshal(line, &e); err != nil || e.ID == "" {
			j.damaged++
			continue
		}
		j.entries[e.ID] = e
	}
	return j, j.rewrite(now)
}

// known reports whether a command was begun before.
func (j *journal) known(id string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	_, ok := j.entries[id]
	return ok
}

// begin notes that a command is about to run. When it returns nil that is on the disk.
func (j *journal) begin(e entry) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.entries) >= journalMost {
		j.forget(time.Now())
	}
	if len(j.entries) >= journalMost {
		return fmt.Errorf("%d commands of the last day are remembered, and no more can be", journalMost)
	}
	return j.put(e, true)
}

// end notes what a command came to; told that Redis knows it, too.
func (j *journal) end(id string, r *pool.Result) error {
	return j.change(id, true, func(e *entry) { e.Ended, e.Result = true, r })
}

func (j *journal) told(id string) error {
	return j.change(id, false, func(e *entry) { e.Ended, e.Result = true, nil }) // if that is lost, it is told once more
}

func (j *journal) change(id string, sync bool, change func(*entry)) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	e, ok := j.entries[id]
	if !ok {
		return nil // one that need not be remembered
	}
	change(&e)
	return j.put(e, sync)
}

// untold returns what Redis may not know, by id.
func (j *journal) untold() map[string]entry {
	j.mu.Lock()
	defer j.mu.Unlock()
	all := map[string]entry{}
	for id, e := range j.entries {
		if !e.Ended || e.Result != nil {
			all[id] = e
		}
	}
	return all
}

func (j *journal) put(e entry, sync bool) error {
	b, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	if j.file != nil {
		n, err := j.file.Write(append(b, '\n'))
		j.written += int64(n)
		if err == nil && sync {
			err = j.file.Sync()
		}
		if err != nil {
			// A half line would hide what comes after it.
			return errors.Join(fmt.Errorf("write journal: %w", err), j.rewrite(time.Now()))
		}
	}
	j.entries[e.ID] = e
	if j.file != nil && j.written > j.limit {
		return j.rewrite(time.Now())
	}
	return nil
}

// forget leaves out what is too old to come again, and told.
func (j *journal) forget(now time.Time) {
	for id, e := range j.entries {
		if e.Ended && e.Result == nil && now.After(e.Keep) {
			delete(j.entries, id)
		}
	}
}

// rewrite replaces the file by one with what is still worth knowing.
func (j *journal) rewrite(now time.Time) error {
	j.forget(now)
	tmp, err := os.CreateTemp(filepath.Dir(j.path), ".journal-*") // mode 0600
	if err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	defer os.Remove(tmp.Name()) // nothing, once it is renamed
	w := bufio.NewWriter(tmp)
	enc := json.NewEncoder(w)
	for _, e := range j.entries {
		err = errors.Join(err, enc.Encode(e))
	}
	if err := errors.Join(err, w.Flush(), tmp.Sync(), os.Rename(tmp.Name(), j.path), syncDir(filepath.Dir(j.path))); err != nil {
		tmp.Close()
		return fmt.Errorf("write journal: %w", err)
	}
	if j.file != nil {
		j.file.Close()
	}
	j.file = tmp
	j.written, err = tmp.Seek(0, io.SeekEnd)
	j.limit = max(journalSpare, 2*j.written)
	return err
}

func (j *journal) close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file == nil {
		return nil
	}
	return j.file.Close()
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
