package agent

import (
	"os"
	"path/filepath"
	"testing"
)

// A run that was killed while it wrote leaves nothing behind for good, and nothing else goes with it.
func TestHalfWrittenFilesAreRemovedAtTheStart(t *testing.T) {
	s, root := deploySite(t)
	dir := s.agent.state.dir
	half, others := filepath.Join(root, deployTemp+"ABC"), filepath.Join(root, deployTemp+"XYZ")
	journal := filepath.Join(dir, ".journal-123")
	for _, file := range []string{half, others, journal} {
		if err := os.WriteFile(file, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	start := func() {
		t.Helper()
		if err := s.agent.openState(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := s.agent.state.close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.agent.state.noteHalf(half); err != nil {
		t.Fatal(err)
	}
	start()
	for file, want := range map[string]bool{half: false, journal: false, filepath.Join(dir, halfNote): false, others: true} {
		if _, err := os.Lstat(file); (err == nil) != want {
			t.Errorf("%s is there: %t", file, !want)
		}
	}
	// A note that names something else removes nothing.
	if _, err := s.agent.state.noteHalf(root + "/app.conf"); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(root, "app.conf")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	start()
	if _, err := os.Lstat(file); err != nil {
		t.Error(err)
	}
	carriedOut(t, s, deployment("path", file, "content", "x"))
	if _, err := os.Lstat(filepath.Join(dir, halfNote)); err == nil {
		t.Error("a file that was written whole is still noted")
	}
}
