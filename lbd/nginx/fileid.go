package nginx

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// fileID tells one state of a file from every other: whoever writes to it, replaces it or flips a link on the way
// to it changes the ID. Times are Unix nanoseconds.
type fileID struct {
	Dev, Ino     uint64
	Size         int64
	Mtime, Ctime int64
}

func idOf(info fs.FileInfo) fileID {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fileID{}
	}
	return fileID{st.Dev, st.Ino, st.Size, st.Mtim.Nano(), st.Ctim.Nano()}
}

// resolve follows all links in path. Unlike filepath.EvalSymlinks it also answers for a file that is not there yet,
// behind a dangling link too: where it would be made.
func resolve(path string) (string, error) {
	for range 40 { // as many links as the kernel follows
		whole, err := filepath.EvalSymlinks(path)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return whole, err
		}
		target, err := os.Readlink(path)
		if err != nil {
			return place(path)
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(path), target)
		}
		path = target
	}
	return "", &fs.PathError{Op: "resolve", Path: path, Err: syscall.ELOOP}
}

// place follows all links but a last one: the place of the directory entry itself.
func place(path string) (string, error) {
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, filepath.Base(path)), nil
}

// fileOwner is the user whom the file belongs to.
func fileOwner(path string) (uid int, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, errors.ErrUnsupported
	}
	return int(st.Uid), nil
}
