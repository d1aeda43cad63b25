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
	// A template of the user's that has the name of lbd's own, whose golden files are not his.
	foreign := t.TempDir()
	if err := os.WriteFile(filepath.Join(foreign, "upstream.conf.tmpl"), []byte("upstream {{.Name}} {\n    # mine\n{{range .Servers}}    server {{.Addr}}{{.Params}};\n{{end}}}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join(t.TempDir(), "golden")
	include := filepath.Join(t.TempDir(), "include.conf")
	if err := os.WriteFile(include, []byte("lua_shared_dict mine 1m;\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	const cases, lua = "--cases=../cases", "--modules=ndk_http_module,ngx_http_lua_module"
	const first = "without Docker: cases on this machine's nginx, no stories\n"
	for _, c := range []struct {
		flags []string
		code  int
		words []string // one after the other
	}{
		{[]string{cases}, 0, []string{first, "one-node", "reload", "ok", "same", "one-node", "lua", "ok"}},
		{[]string{cases, "--templates", templates}, 1, []string{first, "FAILED", "nonsense"}},
		{[]string{cases, "--nginx", "/no/such/nginx"}, 2, []string{first, "/no/such/nginx"}},
		{[]string{cases, "--fixture", "/no/such/nodes"}, 1, []string{first, "harness: ", "/no/such/nodes"}},
		{[]string{"--templates", foreign, "--show"}, 0, []string{"RENDERED", "# mine", "one-node", "ok", " - "}},
		{[]string{"--templates", foreign, "--golden", golden, "--update"}, 0, []string{"one-node", "ok", "written"}},
		{[]string{"--templates", foreign, "--golden", golden}, 0, []string{"one-node", "ok", "same"}},
		{[]string{cases, "--include", include}, 1, []string{"FAILED", `unknown directive "lua_shared_dict"`}},
		{[]string{cases, "--include", include, lua}, 0, []string{"one-node", "reload", "ok", "one-node", "lua", "ok"}},
	} {
		args := append([]string{"--local", "--bin", bin}, c.flags...)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
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
