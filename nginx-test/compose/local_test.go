package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The program plays a case here with both engines, and ends as `lbd test` does.
func TestLocal(t *testing.T) {
	bin := t.TempDir()
	if said, err := exec.Command("go", "build", "-o", bin+string(filepath.Separator), ".", "../../cmd/lbd").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	templates := t.TempDir()
	if err := os.WriteFile(filepath.Join(templates, "mine.conf.tmpl"), []byte("nonsense;\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	const first = "without Docker: cases on this machine's nginx, no stories\n"
	for _, c := range []struct {
		flags []string
		code  int
		words []string // one after the other
	}{
		{nil, 0, []string{first, "one-node", "reload", "ok", "one-node", "lua", "ok"}},
		{[]string{"--templates", templates}, 1, []string{first, "FAILED", "nonsense"}},
		{[]string{"--nginx", "/no/such/nginx"}, 2, []string{first, "/no/such/nginx"}},
		{[]string{"--fixture", "/no/such/nodes"}, 1, []string{first, "harness: ", "/no/such/nodes"}},
	} {
		args := append([]string{"--local", "--bin", bin, "--cases", "../cases"}, c.flags...)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		cmd := exec.CommandContext(ctx, filepath.Join(bin, "compose"), append(args, "--", "--only", "one-node")...)
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		err := cmd.Run()
		cancel()
		if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		rest := stderr.String() + stdout.String()
		for _, word := range c.words {
			_, after, found := strings.Cut(rest, word)
			if !found {
				t.Errorf("%v: no %q in %q of\n%s%s", c.flags, word, rest, &stderr, &stdout)
			}
			rest = after
		}
		if got := cmd.ProcessState.ExitCode(); got != c.code {
			t.Errorf("%v: exit code %d, want %d\n%s%s", c.flags, got, c.code, &stderr, &stdout)
		}
	}
}
