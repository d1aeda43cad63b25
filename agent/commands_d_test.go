package agent

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bazbeans/bazbeans/pool"
)

func TestCommandsDir(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s := newSite(t, func(c *Config) { c.CommandsDir, c.Exec.TimeoutMost = dir, c.Exec.Timeout })
	write := func(name, text string, mode os.FileMode) {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte("#!/bin/sh\n"+text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, mode); err != nil { // beyond the umask
			t.Fatal(err)
		}
	}
	write("clear_cache", `cat; echo note >&2`, 0o755)
	write("silent", ``, 0o755)
	write("broken", `echo '{"a":1} {"b":2}'`, 0o755)
	write("fails", `echo '{"done":1}'; exit 4`, 0o755)
	write("README.txt", ``, 0o644)
	write(".hidden", ``, 0o755)
	write("notes", ``, 0o644)
	write("open", ``, 0o757)
	if err := os.Symlink("/bin/ls", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o755); err != nil {
		t.Fatal(err)
	}

	types := s.agent.commandTypes()
	for name, want := range map[string]bool{"clear_cache": true, "silent": true, "exec": true, "notes": false, "open": false, "link": false, "folder": false, ".hidden": false, "README.txt": false} {
		if slices.Contains(types, name) != want {
			t.Errorf("%s among the types: %t, want %t (%q)", name, !want, want, types)
		}
	}
	for kind, want := range map[string]string{
		"clear_cache": `succeeded code=0 {"type":"clear_cache","id":"","node":"n1","by":"queue","args":{"what":"a'b; $(x)"}}`,
		"silent":      "succeeded code=0",
		"broken":      `failed: it ended well, but what it wrote is not one JSON value of at most 65536 bytes code=0 out={"a":1} {"b":2}`,
		"fails":       `failed: exit code 4 code=4 out={"done":1}`,
		"notes":       "refused: commands_dir: " + dir + "/notes is not executable: chmod +x " + dir + "/notes",
		"open":        "refused: commands_dir: " + dir + "/open can be written by others than its owner (mode 0757): chmod go-w " + dir + "/open",
		"link":        "refused: commands_dir: " + dir + "/link is not a regular file",
		"folder":      "refused: commands_dir: " + dir + "/folder is not a regular file",
	} {
		if got := carriedOut(t, s, command(t, kind, `{"what":"a'b; $(x)"}`)); got != want {
			t.Errorf("%s:\n got %s\nwant %s", kind, got, want)
		}
	}
	for _, name := range []string{"../../bin/ls", ".hidden", "README.txt", "", "none", "a/b"} {
		if _, known := s.agent.knows(name); known {
			t.Errorf("%q is a command", name)
		}
	}
	// Signed without arguments, it has none at all.
	bare := pool.Command{Type: "clear_cache"}
	if got, want := carriedOut(t, s, bare), `succeeded code=0 {"type":"clear_cache","id":"","node":"n1","by":"queue","args":{}}`; got != want {
		t.Errorf("without arguments:\n got %s\nwant %s", got, want)
	}
	// Installed while the agent runs.
	write("later", `echo '"here"'`, 0o755)
	if got := carriedOut(t, s, command(t, "later", `{}`)); got != `succeeded code=0 "here"` {
		t.Error(got)
	}
	// A folder that others can write to holds no commands at all.
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if got := carriedOut(t, s, command(t, "later", `{}`)); !strings.HasPrefix(got, "refused: commands_dir: "+dir+" can be written by others") {
		t.Error(got)
	}
	if slices.Contains(s.agent.commandTypes(), "later") {
		t.Error("its commands are told")
	}
}

// The program that docs/commands.md shows does what the page says.
func TestCommandsDirExample(t *testing.T) {
	page, err := os.ReadFile("../docs/commands.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(page), "```sh\n#!/bin/sh\n")
	text, _, ended := strings.Cut(rest, "```")
	if !found || !ended {
		t.Fatal("docs/commands.md shows no program")
	}
	dir, cache := t.TempDir(), t.TempDir()
	s := newSite(t, func(c *Config) { c.CommandsDir = dir })
	for _, err := range []error{os.Chmod(dir, 0o755), os.Mkdir(filepath.Join(cache, "pages"), 0o700), os.Mkdir(filepath.Join(cache, "posts"), 0o700),
		os.WriteFile(filepath.Join(dir, "clear_cache"), []byte("#!/bin/sh\n"+strings.ReplaceAll(text, "/var/cache/app", cache)), 0o755)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if got := carriedOut(t, s, command(t, "clear_cache", `{"what":"pages"}`)); got != `succeeded code=0 {"cleared":"pages"}` {
		t.Error(got)
	}
	if got := carriedOut(t, s, command(t, "clear_cache", `{"what":"../.."}`)); !strings.HasPrefix(got, "failed: exit code") {
		t.Error(got)
	}
	if left, _ := os.ReadDir(cache); len(left) != 1 || left[0].Name() != "posts" {
		t.Errorf("left: %v", left)
	}
}

// The folder behind a link is what counts.
func TestCommandsDirBehindALink(t *testing.T) {
	dir, link := t.TempDir(), filepath.Join(t.TempDir(), "commands.d")
	for _, err := range []error{os.Symlink(dir, link), os.Chmod(dir, 0o755), os.WriteFile(filepath.Join(dir, "x"), []byte("#!/bin/sh\n"), 0o755)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	s := newSite(t, func(c *Config) { c.CommandsDir = link })
	if got := carriedOut(t, s, command(t, "x", `{}`)); got != "succeeded code=0" {
		t.Error(got)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if got := carriedOut(t, s, command(t, "x", `{}`)); got != "refused: commands_dir: "+dir+" can be written by others than its owner (mode 0777): chmod go-w "+dir {
		t.Error(got)
	}
	if slices.Contains(s.agent.commandTypes(), "x") {
		t.Error("its commands are told")
	}
}

func TestCommandsDirOfAnother(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can give files away")
	}
	dir := t.TempDir()
	s := newSite(t, func(c *Config) { c.CommandsDir = dir })
	file := filepath.Join(dir, "x")
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(file, 12345, 0); err != nil {
		t.Fatal(err)
	}
	if got := carriedOut(t, s, command(t, "x", `{}`)); got != "refused: commands_dir: "+file+" belongs to user 12345, and not to root or the agent's user" {
		t.Error(got)
	}
}
