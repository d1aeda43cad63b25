package agent

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/bazbeans/bazbeans/pool"
)

func TestMemory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "by", "it")
	m := newMemory(dir, "n1")
	if err := m.load(); err != nil || m.freeze != nil {
		t.Errorf("nothing there: %+v, %v", m.freeze, err)
	}
	freeze := pool.Freeze{By: "ann", At: "2026-01-02T03:04:05Z", Reason: "disk \"swap\""}
	for range 2 {
		if err := m.note(&freeze, 7); err != nil {
			t.Fatal(err)
		}
	}
	again := newMemory(dir, "n1")
	if err := again.load(); err != nil || again.freeze == nil || *again.freeze != freeze || again.rev != 7 {
		t.Errorf("%+v at %d, %v", again.freeze, again.rev, err)
	}
	// A folder that was copied from another node brings no freeze.
	other := newMemory(dir, "n2")
	if err := other.load(); err != nil || other.freeze != nil {
		t.Errorf("another node's: %+v, %v", other.freeze, err)
	}
	if err := again.note(nil, 8); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "freeze.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := m.load(); err == nil {
		t.Error("rubbish is read")
	}
	none := newMemory("", "n1")
	if err := none.note(&freeze, 7); err != nil || none.freeze == nil {
		t.Errorf("without a folder: %+v, %v", none.freeze, err)
	}
}

// A disk that was full, or a folder that was away, is tried again: a freeze that is known and not kept is lost with the
// agent.
func TestMemoryThatCouldNotBeWritten(t *testing.T) {
	place := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(place, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	m := newMemory(place, "n1") // no folder, for anybody
	freeze := pool.Freeze{By: "ann", Reason: "swap"}
	for range 2 {
		if err := m.note(&freeze, 7); err == nil || m.freeze == nil {
			t.Errorf("%+v, %v", m.freeze, err)
		}
	}
	if err := os.Remove(place); err != nil {
		t.Fatal(err)
	}
	if err := m.note(&freeze, 9); err != nil {
		t.Error(err)
	}
	again := newMemory(place, "n1")
	if err := again.load(); err != nil || again.freeze == nil || again.rev != 7 {
		t.Errorf("%+v at %d, %v", again.freeze, again.rev, err)
	}
}
