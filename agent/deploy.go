package agent

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/bazbeans/bazbeans/pool"
)

// Files says where the command deploy_file may write.
type Files struct {
	Roots    []string `yaml:"roots"`     // folders; default none, so that nothing may be written
	Owners   []string `yaml:"owners"`    // "user" or "user:group" that a file may be given to, word for word; default none
	SizeMost int64    `yaml:"max_bytes"` // of one file; default 2 MiB
}

// sizeBound is how large a file can be so that its command, sealed and signed, is one that the pool takes.
const sizeBound = 3 << 20

func (f Files) check() error {
	var errs []error
	for _, r := range f.Roots {
		if !filepath.IsAbs(r) || filepath.Clean(r) != r || r == "/" {
			errs = append(errs, fmt.Errorf("roots: %q is not the plain absolute path of a folder below /", r))
		}
	}
	if f.SizeMost < 1 || f.SizeMost > sizeBound {
		errs = append(errs, fmt.Errorf("max_bytes %d is not a number from 1 to %d", f.SizeMost, sizeBound))
	}
	return errors.Join(errs...)
}

// deployed is the result of deploy_file.
type deployed struct {
	Path     string `json:"path"`
	Bytes    int    `json:"bytes"`
	SHA256   string `json:"sha256"`
	Mode     string `json:"mode"`
	Changed  bool   `json:"changed"`            // its content was another, or there was none
	Previous string `json:"previous,omitempty"` // where its former content is kept
	NotKept  string `json:"not_kept,omitempty"` // why its former content is not
}

// upload is what a deploy_file command asks for, checked.
type upload struct {
	root, name string // a folder of files.roots, and the file's path below it
	content    []byte
	sum        string
	mode       fs.FileMode
	modeSet    bool
	uid, gid   int // -1: as it was
}

// deployFile writes a file below one of files.roots, all of it or nothing. Arguments: path, content (text; encoding
// "base64" if it is that), mode (octal text), owner, sha256 (of the content).
func (a *Agent) deployFile(_ context.Context, c pool.Command) (any, error) {
	files := a.rules.Load().Files
	u, err := files.upload(c)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(u.root)
	if err != nil {
		return nil, refuse("files.roots: %v", err)
	}
	defer root.Close() // it is only read from here
	d := deployed{Path: filepath.Join(u.root, u.name), Bytes: len(u.content), SHA256: u.sum, Changed: true}
	switch was, err := root.Lstat(u.name); {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := root.Stat(filepath.Dir(u.name)); err != nil {
			return nil, refuse("the folder of %s: %v", d.Path, err)
		}
	case err != nil:
		return nil, refuse("%v", err)
	case !was.Mode().IsRegular():
		return nil, refuse("%s is not a regular file (%s): it is not replaced", d.Path, was.Mode().Type())
	default:
		if err := a.keepPrevious(root, u, &d, files.SizeMost); err != nil {
			return nil, fmt.Errorf("keep the former %s: %w", d.Path, err)
		}
		u.like(was)
	}
	d.Mode = fmt.Sprintf("%04o", u.mode)
	tmp := filepath.Join(filepath.Dir(u.name), deployTemp+rand.Text())
	forget, err := a.state.noteHalf(filepath.Join(u.root, tmp))
	if err != nil {
		return nil, fmt.Errorf("note what is written: %w", err)
	}
	defer forget()
	return d, u.write(root, tmp)
}

func (f Files) upload(c pool.Command) (*upload, error) {
	u := &upload{mode: 0o644, uid: -1, gid: -1}
	if err := f.place(u, c.Text("path")); err != nil {
		return nil, err
	}
	text, ok := c.Args["content"].(string)
	switch encoding := c.Text("encoding"); {
	case !ok:
		return nil, refuse("it has no content: want a text")
	case encoding == "base64":
		var err error
		if u.content, err = base64.StdEncoding.DecodeString(text); err != nil {
			return nil, refuse("its content is not base64: %v", err)
		}
	case encoding == "":
		u.content = []byte(text)
	default:
		return nil, refuse("encoding %.20q is not base64, or left out for text", encoding)
	}
	if int64(len(u.content)) > f.SizeMost {
		return nil, refuse("%d bytes are more than this node's files.max_bytes %d", len(u.content), f.SizeMost)
	}
	sum := sha256.Sum256(u.content)
	u.sum = hex.EncodeToString(sum[:])
	if want, there := c.Args["sha256"]; there && want != u.sum {
		return nil, refuse("the content has the sha256 %s, and %.80q was said", u.sum, fmt.Sprint(want))
	}
	if mode, there := c.Args["mode"]; there {
		text, _ := mode.(string)
		n, err := strconv.ParseUint(text, 8, 32)
		if err != nil || n > 0o777 {
			return nil, refuse(`mode %.20q is not octal text from "0000" to "0777"`, fmt.Sprint(mode))
		}
		u.mode, u.modeSet = fs.FileMode(n), true
	}
	if owner, there := c.Args["owner"]; there {
		return u, f.give(u, fmt.Sprint(owner))
	}
	return u, nil
}

// place finds the root that a path is below.
func (f Files) place(u *upload, path string) error {
	if !filepath.IsAbs(path) || filepath.Clean(path) != path || strings.ContainsRune(path, 0) {
		return refuse("path %.200q is not a plain absolute path of a file", path)
	}
	for _, r := range f.Roots {
		name, below := strings.CutPrefix(path, r+"/")
		if below && len(r) > len(u.root) {
			u.root, u.name = r, name
		}
	}
	if u.root == "" {
		return refuse("path %.200q is not below one of this node's files.roots (%s)", path, strings.Join(f.Roots, ", "))
	}
	return nil
}

// give checks that the file may be given to owner.
func (f Files) give(u *upload, owner string) error {
	if !slices.Contains(f.Owners, owner) {
		return refuse("owner %.100q is not in this node's files.owners (%s)", owner, strings.Join(f.Owners, ", "))
	}
	name, group, hasGroup := strings.Cut(owner, ":")
	who, err := user.Lookup(name)
	if err != nil {
		return refuse("owner: %v", err)
	}
	gid := who.Gid
	if hasGroup {
		g, err := user.LookupGroup(group)
		if err != nil {
			return refuse("owner: %v", err)
		}
		gid = g.Gid
	}
	u.uid, err = strconv.Atoi(who.Uid)
	if err == nil {
		u.gid, err = strconv.Atoi(gid)
	}
	return err
}

// like takes over what the command does not say from the file that it replaces.
func (u *upload) like(was fs.FileInfo) {
	if !u.modeSet {
		u.mode = was.Mode().Perm()
	}
	if s, ok := was.Sys().(*syscall.Stat_t); ok && u.uid < 0 && os.Getuid() == 0 {
		u.uid, u.gid = int(s.Uid), int(s.Gid)
	}
}

// write writes to tmp, beside the file, and renames, so that a reader sees the old or the new one and a crash loses
// neither.
func (u *upload) write(root *os.Root, tmp string) (err error) {
	f, err := root.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write beside the file: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, root.Remove(tmp))
		}
	}()
	_, err = f.Write(u.content)
	if err == nil && u.uid >= 0 {
		err = f.Chown(u.uid, u.gid)
	}
	if err = errors.Join(err, f.Chmod(u.mode), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := root.Rename(tmp, u.name); err != nil {
		return err
	}
	d, err := root.Open(filepath.Dir(u.name))
	if err != nil {
		return nil // it is there; only that it stays through a power cut is not proven
	}
	_ = d.Sync() // as above
	return d.Close()
}

// openRegular opens a file for reading that is a regular one, now.
func openRegular(root *os.Root, name string) (*os.File, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(errors.New("not a regular file"), err, f.Close())
	}
	return f, nil
}
