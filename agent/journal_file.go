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
	"time"
)

const (
	journalSpare  = 1 << 20  // bytes of a file that are not worth writing it anew
	journalLength = 64 << 20 // bytes of a file that is read at all
	journalTemp   = ".journal-*"
)

// header is the first line of the file.
type header struct {
	Since time.Time `json:"since"`
}

// openJournal reads the file, if there is one, and writes it anew with what is still worth knowing. A last line that
// was cut by a crash is left out; other damaged ones are counted. If the file can be read and not written, the journal
// comes with the error, and refuses to begin anything until it can.
func openJournal(path string, now time.Time) (*journal, error) {
	j := newJournal()
	j.path, j.torn = path, true
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	if len(b) > journalLength {
		return nil, fmt.Errorf("read journal: %s has %d bytes, which is not by this agent", path, len(b))
	}
	j.read(b[:bytes.LastIndexByte(b, '\n')+1])
	// A file that is new, was wiped or is damaged does not know what ran before now. One of later than now is of a clock
	// that was wrong, and knows all ids of then.
	if j.damaged > 0 || j.since.IsZero() || j.since.After(now) {
		j.since = now
	}
	return j, j.rewrite(now)
}

func (j *journal) read(b []byte) {
	for line := range bytes.Lines(b) {
		var l struct {
			header
			entry
		}
		err := json.Unmarshal(line, &l)
		switch {
		case err == nil && l.ID != "":
			j.entries[l.ID] = l.entry
		case err == nil && !l.Since.IsZero():
			j.since = l.Since
		default:
			j.damaged++
		}
	}
}

// write appends an entry to the file, if there is one.
func (j *journal) write(e entry, sync bool) error {
	if j.path == "" {
		return nil
	}
	if j.torn {
		if err := j.rewrite(time.Now()); err != nil {
			return fmt.Errorf("nothing can be noted until the journal is written anew: %w", err)
		}
	}
	b, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	n, err := j.file.Write(append(b, '\n'))
	j.written += int64(n)
	if err == nil && sync {
		err = j.file.Sync()
	}
	if err != nil {
		j.torn = true // half a line would hide the next; and after a sync that failed, one that succeeds proves nothing
		return fmt.Errorf("write journal: %w", err)
	}
	return nil
}

// compact writes a file anew that has become long. What is in the file and not in entries would be lost.
func (j *journal) compact() {
	if j.file != nil && j.written > j.limit && j.rewrite(time.Now()) != nil {
		j.limit = j.written + journalSpare // nothing is lost: the file is only longer than it need be
	}
}

// rewrite replaces the file by one with what is still worth knowing. Until all of that is on the disk the former one
// stays.
func (j *journal) rewrite(now time.Time) error {
	j.forget(now)
	dir := filepath.Dir(j.path)
	tmp, err := os.CreateTemp(dir, journalTemp) // mode 0600
	if err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	written, err := j.writeAll(tmp)
	if err == nil {
		err = tmp.Sync()
	}
	if err == nil {
		err = os.Rename(tmp.Name(), j.path)
	}
	if err != nil {
		return fmt.Errorf("write journal: %w", errors.Join(err, tmp.Close(), os.Remove(tmp.Name())))
	}
	if j.file != nil {
		j.file.Close() // it has no name any more
	}
	j.file, j.written, j.limit = tmp, written, max(journalSpare, 2*written)
	if err := syncDir(dir); err != nil {
		j.torn = true // after a power cut the former one might be back
		return fmt.Errorf("write journal: %w", err)
	}
	j.torn = false
	return nil
}

// writeAll writes all that is known and returns how many bytes that is.
func (j *journal) writeAll(f *os.File) (int64, error) {
	w := bufio.NewWriter(f)
	enc := json.NewEncoder(w)
	err := enc.Encode(header{j.since})
	for _, e := range j.entries {
		if err == nil {
			err = enc.Encode(e)
		}
	}
	if err == nil {
		err = w.Flush()
	}
	if err != nil {
		return 0, err
	}
	return f.Seek(0, io.SeekCurrent)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
