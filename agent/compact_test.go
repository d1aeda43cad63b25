package agent

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// binaryMost is what bbagent may weigh, in bytes: it goes onto every node.
const binaryMost = 15 << 20

func TestBinaryIsCompact(t *testing.T) {
	if testing.Short() {
		t.Skip("builds bbagent")
	}
	file := filepath.Join(t.TempDir(), "bbagent")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", file, "../cmd/bbagent")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > binaryMost {
		t.Errorf("bbagent has %.1f MB, want %d at most", float64(info.Size())/(1<<20), binaryMost>>20)
	}
}
