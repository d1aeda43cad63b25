package agent

import (
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

// keepPrevious copies what a file holds into the state folder, unless that is what will be written, and removes all but
// the last few. It returns where it is and whether the content changes.
func (a *Agent) keepPrevious(root *os.Root, u *upload, path string) (kept string, changed bool, err error) {
	f, err := openRegular(root, u.name)
	if err != nil {
		return "", false, err
	}
	defer f.Close() // only read
	sum, err := sumOf(f)
	if err != nil || sum == u.sum || a.state.dir == "" {
		return "", sum != u.sum, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return "", false, err
	}
	dir := filepath.Join(a.state.dir, "previous", folderName(path))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", false, err
	}
	kept = filepath.Join(dir, time.Now().UTC().Format("20060102T150405.000000000Z"))
	to, err := os.OpenFile(kept, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", false, err
	}
	_, err = io.Copy(to, f)
	if err := errors.Join(err, to.Sync(), to.Close()); err != nil {
		return "", false, errors.Join(err, os.Remove(kept))
	}
	return kept, true, removeAllBut(dir, previousMost)
}

// folderName makes one folder's name of a path that people still read: slashes become "!"; what is too long is told
// apart by a sum.
func folderName(path string) string {
	name := strings.NewReplacer("!", "!!", "/", "!").Replace(strings.TrimPrefix(path, "/"))
	if len(name) > 200 {
		sum, _ := sumOf(strings.NewReader(path)) // reading a text does not fail
		name = fmt.Sprintf("%s…%s", strings.ToValidUTF8(name[:100], ""), sum)
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
