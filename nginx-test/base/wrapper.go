package base

import (
	"context"
	"crypto/sha256"
	_ "embed" // enter
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
)

// enter is the source of the wrapper program.
//
//go:embed enter/main.go
var enter []byte

// install puts the wrapper program at path. It is built once for all roots and
// names, and again when its source changes.
func install(ctx context.Context, path string) error {
	program, err := wrapper(ctx)
	if err != nil {
		return err
	}
	want, err := os.Stat(program)
	if err != nil {
		return err
	}
	if got, err := os.Stat(path); err == nil && os.SameFile(got, want) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	// A link by another name first: who runs path meanwhile finds the old program or the new one.
	temp := fmt.Sprintf("%s.%x", path, rand.Uint64())
	if err := os.Link(program, temp); err != nil {
		return err
	}
	return os.Rename(temp, path)
}

// wrapper returns the path of the built program.
func wrapper(ctx context.Context) (string, error) {
	cache, err := Cache()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(enter)
	program := filepath.Join(cache, "enter-"+hex.EncodeToString(sum[:4]))
	if present(program) {
		return program, nil
	}
	lock, err := acquire(ctx, program+".lock")
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if present(program) {
		return program, nil
	}
	dir, err := os.MkdirTemp(cache, "making-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	source, built := filepath.Join(dir, "main.go"), filepath.Join(dir, "enter")
	if err := os.WriteFile(source, enter, 0o644); err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", built, source)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOOS=", "GOARCH=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build it: %w\n%s", err, out)
	}
	return program, os.Rename(built, program)
}
