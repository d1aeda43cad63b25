package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"syscall"
	"time"

	"github.com/bazbeans/bazbeans/pool"
)

// commandsDir is a folder of programs, each a type of command named as its file. It is read anew at each use.
//
// A program gets the command as one JSON object on its standard input, and answers with one JSON value on its standard
// output (nothing is an answer, too); what it writes to its standard error is kept for people. Exit code 0 is success.
// It runs as exec.user, for exec.timeout_max at most.
type commandsDir struct {
	folder
	as    *runAs
	limit Duration
	node  string
}

func (a *Agent) commandsDir() commandsDir {
	r := a.rules.Load()
	return commandsDir{folder(r.CommandsDir), r.as, r.Exec.TimeoutMost, a.cfg.NodeID}
}

var typeRule = regexp.MustCompile(`\A[A-Za-z0-9][A-Za-z0-9_-]{0,63}\z`)

// types are the commands that the folder holds now: files that may be run.
func (d commandsDir) types() []string {
	if d.folder == "" {
		return nil
	}
	files, _ := os.ReadDir(string(d.folder)) // one that can't be read holds no commands, and a command says why
	var names []string
	for _, f := range files {
		if !typeRule.MatchString(f.Name()) {
			continue
		}
		if _, err := d.trusted(f.Name()); err == nil {
			names = append(names, f.Name())
		}
	}
	return names
}

// handler returns the one for a type, if the folder has a file of that name; whether it may be run is seen then.
func (d commandsDir) handler(kind string) (Handler, bool) {
	if d.folder == "" || !typeRule.MatchString(kind) {
		return nil, false
	}
	if _, err := os.Lstat(filepath.Join(string(d.folder), kind)); err != nil {
		return nil, false
	}
	return func(ctx context.Context, c pool.Command) (any, error) { return d.run(ctx, kind, c) }, true
}

// trusted returns the file of a program, with no link in the path of its folder, so that what was looked at is what
// runs; or why it is not to be run: somebody but root and the agent's user could have put it there.
func (d commandsDir) trusted(kind string) (file string, err error) {
	dir, err := filepath.EvalSymlinks(string(d.folder))
	if err != nil {
		return "", err
	}
	file = filepath.Join(dir, kind)
	for _, d := range []string{string(d.folder), dir} { // the link, too: who owns it says where it leads
		if _, err := ours(d); err != nil {
			return "", err
		}
	}
	info, err := ours(file)
	switch {
	case err != nil:
		return "", err
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("%s is not a regular file", file)
	case info.Mode()&0o111 == 0:
		return "", fmt.Errorf("%s is not executable: chmod +x %s", file, file)
	}
	return file, nil
}

// ours looks at a file or folder; the error says who else could have written it.
func ours(file string) (fs.FileInfo, error) {
	info, err := os.Lstat(file)
	if err != nil {
		return nil, err
	}
	if info.Mode()&fs.ModeSymlink == 0 && info.Mode().Perm()&0o022 != 0 { // a link's mode says nothing
		return nil, fmt.Errorf("%s can be written by others than its owner (mode %04o): chmod go-w %s", file, info.Mode().Perm(), file)
	}
	if s, ok := info.Sys().(*syscall.Stat_t); ok && s.Uid != 0 && int(s.Uid) != os.Getuid() {
		return nil, fmt.Errorf("%s belongs to user %d, and not to root or the agent's user", file, s.Uid)
	}
	return info, nil
}

func (d commandsDir) run(ctx context.Context, kind string, c pool.Command) (any, error) {
	file, err := d.trusted(kind)
	if err != nil {
		return nil, refuse("commands_dir: %v", err)
	}
	args := c.Args
	if args == nil { // an object in any case, for programs that look into it
		args = map[string]any{}
	}
	in, err := json.Marshal(struct {
		Type string         `json:"type"`
		ID   string         `json:"id"`
		Node string         `json:"node"`
		By   string         `json:"by"`
		Args map[string]any `json:"args"`
	}{c.Type, c.ID, d.node, sender(c), args})
	if err != nil {
		return nil, refuse("its arguments can't be written as JSON: %v", err)
	}
	ran, err := program{argv: []string{file}, dir: filepath.Dir(file), as: d.as,
		stdin: bytes.NewReader(in), limit: time.Duration(d.limit)}.run(ctx)
	if err != nil {
		return ran, err
	}
	out := bytes.TrimSpace([]byte(ran.Stdout))
	if len(out) > 0 && !json.Valid(out) {
		return ran, fmt.Errorf("it ended well, but what it wrote is not one JSON value of at most %d bytes", pool.OutputMost)
	}
	ran.Output, ran.Stdout = out, ""
	return ran, nil
}
