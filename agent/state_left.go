package agent

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// deployTemp begins the names of what deploy_file writes beside its place; random text follows.
const deployTemp = ".bbagent-"

// halfNote is the file in the state folder that names such a file while it is written.
const halfNote = "deploying"

// noteHalf notes that a file is about to be half written, so that the next run removes it if this one is killed. forget
// takes that back. There is one at a time: deploy_file is in a lane.
func (s *state) noteHalf(file string) (forget func(), err error) {
	if s.dir == "" {
		return func() {}, nil
	}
	note := filepath.Join(s.dir, halfNote)
	return func() { os.Remove(note) }, os.WriteFile(note, []byte(file), 0o600)
}

// removeLeft removes what a run that was killed left half written. What can't be removed is in nobody's way.
func (s *state) removeLeft() {
	names, _ := fs.Glob(os.DirFS(s.dir), journalTemp) // the pattern is not bad
	var left []string
	for _, name := range names {
		left = append(left, filepath.Join(s.dir, name))
	}
	note := filepath.Join(s.dir, halfNote)
	if b, err := os.ReadFile(note); err == nil {
		left = append(left, note)
		if file := string(b); strings.HasPrefix(filepath.Base(file), deployTemp) {
			left = append(left, file)
		}
	}
	for _, file := range left {
		os.Remove(file)
	}
}
