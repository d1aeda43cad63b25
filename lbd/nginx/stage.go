package nginx

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/bazbeans/bazbeans/step"
)

// output is one File and what is at its place now.
type output struct {
	File
	real   string // Path with its links followed: the entry that is replaced
	exists bool
	id     fileID // of the live file, zero when there is none
	mode   fs.FileMode
	uid    int
	gid    int
	live   []byte // the live file's content, nil when there is none

	staged string     // the dot file beside real that holds Data; "" when none is needed
	synced chan error // answers once, when staged is on the disk
	backup string     // the dot file beside real that holds what was live; see install
}

// differs tells whether the live path does not hold what is wanted.
func (o *output) differs() bool {
	if o.Remove || !o.exists {
		return o.exists != !o.Remove
	}
	return !bytes.Equal(o.live, o.Data)
}

// wanted is the content that is wanted, nil for no file.
func (o *output) wanted() []byte {
	if !o.Remove && o.Data == nil {
		return []byte{}
	}
	return o.Data
}

// former is the content that was there, nil for no file.
func (o *output) former() []byte { return o.live }

func differing(outs []*output) []*output {
	var list []*output
	for _, o := range outs {
		if o.differs() {
			list = append(list, o)
		}
	}
	return list
}

// outputs looks at the live path of each file.
func (n *Nginx) outputs(files []File) ([]*output, error) {
	outs := make([]*output, 0, len(files))
	seen := map[string]string{}
	for _, f := range n.OnDisk(files) {
		o, err := look(f)
		if err != nil {
			return nil, step.Errorf(step.Install, "", "look at output %s: %w", f.Path, err)
		}
		if other, twice := seen[o.real]; twice {
			return nil, step.Errorf(step.Install, "give each upstream an output of its own",
				"outputs %s and %s are one file, %s", other, f.Path, o.real)
		}
		seen[o.real] = f.Path
		outs = append(outs, o)
	}
	return outs, nil
}

func look(f File) (*output, error) {
	if !filepath.IsAbs(f.Path) {
		return nil, errors.New("the path is not absolute")
	}
	real, err := resolve(f.Path)
	if err != nil {
		return nil, err
	}
	o := &output{File: f, real: real, mode: 0o644, uid: -1, gid: -1}
	file, err := os.OpenFile(real, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a FIFO must not hang us
	if errors.Is(err, fs.ErrNotExist) {
		return o, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	if o.live, err = io.ReadAll(file); err != nil {
		return nil, err
	}
	o.exists, o.id, o.mode = true, idOf(info), info.Mode().Perm()
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		o.uid, o.gid = int(st.Uid), int(st.Gid)
	}
	return o, nil
}

// stage writes the data of the outputs that differ beside their live files. On an error nothing stays.
func stage(outs []*output) error {
	for _, o := range differing(outs) {
		if o.Remove {
			continue
		}
		if err := o.stage(); err != nil {
			discard(outs)
			return step.Errorf(step.Install, wayOut(err, o.real), "write beside %s: %w", o.real, err)
		}
	}
	return nil
}

func (o *output) stage() error {
	name := dotName(o.real)
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nameless(err)
	}
	o.staged = name
	if _, err := file.Write(o.Data); err != nil {
		file.Close()
		return nameless(err)
	}
	if o.uid >= 0 && (o.uid != os.Geteuid() || o.gid != os.Getegid()) {
		_ = file.Chown(o.uid, o.gid) // as far as we may; Nginx's master reads it as root
	}
	if err := file.Chmod(o.mode); err != nil {
		file.Close()
		return nameless(err)
	}
	// The disk writes while Nginx tests: install waits for the answer.
	o.synced = make(chan error, 1)
	go func() {
		o.synced <- errors.Join(nameless(file.Sync()), nameless(file.Close()))
	}()
	return nil
}

// discard removes the staged files and backups that were not used.
func discard(outs []*output) {
	for _, o := range outs {
		if o.synced != nil {
			<-o.synced
			o.synced = nil
		}
		for _, name := range []*string{&o.staged, &o.backup} {
			if *name != "" {
				_ = os.Remove(*name) // what stays is swept by the next lbd
				*name = ""
			}
		}
	}
}

const dotMark = ".lbd-" // in the names of all our temporary files beside others' files

// dotPrefix begins the names of our temporary files beside path. The dot keeps them out of globs.
func dotPrefix(path string) string {
	base := strings.TrimPrefix(filepath.Base(path), ".")
	return "." + base[:min(len(base), 200)] + dotMark // names end at 255 bytes
}

func dotName(path string) string {
	return filepath.Join(filepath.Dir(path), dotPrefix(path)+random())
}

func random() string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails, says its documentation
	return hex.EncodeToString(b[:])
}

// nameless is an error of the file system without the name of a temporary file, which is another one at each try: the same
// trouble has to read the same, for it is told once.
func nameless(err error) error {
	at, link := new(fs.PathError), new(os.LinkError)
	switch {
	case errors.As(err, &at):
		return fmt.Errorf("%s: %w", at.Op, at.Err)
	case errors.As(err, &link):
		return fmt.Errorf("%s: %w", link.Op, link.Err)
	}
	return err
}

func readNames(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Readdirnames(-1)
}

// wayOut is the hint for an error of the file system at path.
func wayOut(err error, path string) string {
	dir := filepath.Dir(path)
	switch {
	case errors.Is(err, syscall.EBUSY), errors.Is(err, syscall.EXDEV):
		return fmt.Sprintf("%s is a mount point and cannot be replaced: mount the folder %s instead of the file", path, dir)
	case errors.Is(err, syscall.EROFS):
		return fmt.Sprintf("%s is read-only: with systemd, name it in ReadWritePaths", dir)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Sprintf("lbd must be allowed to create and rename files in %s", dir)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Sprintf("make the folder %s", dir)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "make room on that file system"
	}
	return ""
}
