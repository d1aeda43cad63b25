package agent

import (
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/bazbeans/bazbeans/pool"
)

// journal remembers which commands were begun, and what they came to until Redis knows it. It is on the disk before a
// command runs, so that an agent that was killed neither runs one twice nor forgets that it ran.
//
// The file holds one JSON object a line: first since, then entries, of which the last of an id counts. After a write that
// failed the file is written anew, whole, before anything else is noted: until that succeeds no command begins. A journal
// without a path remembers for this run only.
type journal struct {
	path    string    // "": none
	since   time.Time // what was issued before may have been run, and is not known here
	damaged int       // lines that could not be read

	writing sync.Mutex // of the file, for as long as the disk takes
	file    *os.File   // nil: none yet
	written int64      // bytes in the file
	limit   int64      // bytes at which it is written anew
	torn    bool       // a write failed: the file is not what entries say

	mu      sync.RWMutex // of entries, which change only while both are held
	entries map[string]entry
}

// entry is what is known of one command. Ended without Result: Redis was told what it came to.
type entry struct {
	ID     string            `json:"id"`
	Type   string            `json:"type,omitempty"`
	By     string            `json:"by,omitempty"`
	Begun  time.Time         `json:"begun"`
	Keep   time.Time         `json:"keep"` // until then the id is refused
	Ended  bool              `json:"ended,omitempty"`
	Result *pool.Result      `json:"result,omitempty"` // not told yet
	State  pool.CommandState `json:"state,omitempty"`  // that was told, since Redis may lose it
	Over   time.Time         `json:"over,omitzero"`    // when it ended, if that was told
}

const journalMost = 20000 // entries; about 300 bytes each

func newJournal() *journal { return &journal{entries: map[string]entry{}} }

// known returns what is known of a command that was begun before. It waits for no disk.
func (j *journal) known(id string) (entry, bool) {
	j.mu.RLock()
	defer j.mu.RUnlock()
	e, ok := j.entries[id]
	return e, ok
}

// begin notes that a command is about to run. When it returns nil that is on the disk.
func (j *journal) begin(e entry) error {
	j.writing.Lock()
	defer j.writing.Unlock()
	if len(j.entries) >= journalMost {
		j.forget(time.Now())
	}
	if len(j.entries) >= journalMost {
		return fmt.Errorf("%d commands of the last day are remembered, and no more can be", journalMost)
	}
	if err := j.write(e, true); err != nil {
		return err
	}
	j.put(e)
	j.compact()
	return nil
}

// end notes what a command came to; told that Redis knows it, too.
func (j *journal) end(id string, r *pool.Result) error {
	return j.change(id, true, func(e *entry) { e.Ended, e.Result = true, r })
}

func (j *journal) told(r *pool.Result) error {
	return j.change(r.ID, false, func(e *entry) { // if that is lost, it is told once more
		e.Ended, e.Result, e.State, e.Over = true, nil, r.State, r.Ended
	})
}

func (j *journal) change(id string, sync bool, change func(*entry)) error {
	j.writing.Lock()
	defer j.writing.Unlock()
	e, ok := j.entries[id]
	if !ok {
		return nil // one that need not be remembered
	}
	change(&e)
	j.put(e) // it is so, noted or not: a rewrite has it
	err := j.write(e, sync)
	j.compact()
	return err
}

func (j *journal) put(e entry) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries[e.ID] = e
}

// untold returns what Redis may not know, by id.
func (j *journal) untold() map[string]entry {
	j.mu.RLock()
	defer j.mu.RUnlock()
	all := map[string]entry{}
	for id, e := range j.entries {
		if !e.Ended || e.Result != nil {
			all[id] = e
		}
	}
	return all
}

// forget leaves out what is too old to come again, and told.
func (j *journal) forget(now time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for id, e := range j.entries {
		if e.Ended && e.Result == nil && now.After(e.Keep) {
			delete(j.entries, id)
		}
	}
}

func (j *journal) close() error {
	j.writing.Lock()
	defer j.writing.Unlock()
	if j.file == nil {
		return nil
	}
	return j.file.Close()
}
