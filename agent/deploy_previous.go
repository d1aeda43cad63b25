package agent

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// previousMost is how many former contents of one file are kept.
const previousMost = 3

// keepPrevious copies what a file holds into the state folder, if there is one, unless that is what will be written or
// more than most bytes, and removes all but the last few. It notes in d where it is, or why it is not, and whether the
// content changes.
func (a *Agent) keepPrevious(root *os.Root, u *upload, d *deployed, most int64) error {
	f, err := openRegular(root, u.name)
	if err != nil {
		return err
	}
	defer f.Close() // only read
	was, err := io.ReadAll(io.LimitReader(f, most+1))
	d.Changed = !bytes.Equal(was, u.content)
	switch {
	case err != nil || !d.Changed:
		return err
	case a.state.dir == "":
		d.NotKept = "this node has no state_dir to keep the former content in"
		return nil
	case int64(len(was)) > most:
		d.NotKept = fmt.Sprintf("the former content is more than files.max_bytes %d", most)
		return nil
	}
	dir := filepath.Join(a.state.dir, "previous", folderName(d.Path))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	kept := filepath.Join(dir, time.Now().UTC().Format("20060102T150405.000000000Z"))
	if err := writeNew(kept, was); err != nil {
		return err
	}
	d.Previous = kept
	return removeAllBut(dir, previousMost)
}

// writeNew writes a file that is not there yet, to the disk, or none.
func writeNew(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// folderName makes one folder's name of a path that people still read: slashes become "!"; what is too long is told
// apart by a sum.
func folderName(path string) string {
	name := strings.NewReplacer("!", "!!", "/", "!").Replace(strings.TrimPrefix(path, "/"))
	if len(name) > 200 {
		name = fmt.Sprintf("%s…%x", strings.ToValidUTF8(name[:100], ""), sha256.Sum256([]byte(path)))
	}
	return name
}

// removeAllBut removes the oldest files of a folder, whose names sort by age.
func removeAllBut(dir string, most int) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	names := make([]string, len(files))
	for i, f := range files {
		names[i] = f.Name()
	}
	slices.Sort(names)
	var errs []error
	for len(names) > most {
		errs = append(errs, os.Remove(filepath.Join(dir, names[0])))
		names = names[1:]
	}
	return errors.Join(errs...)
}
