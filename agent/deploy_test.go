package agent

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/bazbeans/bazbeans/pool"
)

// deploySite is an agent that may write below root.
func deploySite(t *testing.T, change ...func(*Config)) (s *site, root string) {
	t.Helper()
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s = newSite(t, append([]func(*Config){func(c *Config) {
		c.Files.Roots, c.StateDir = []string{root}, t.TempDir()
	}}, change...)...)
	if err := s.agent.prepareState(); err != nil {
		t.Fatal(err)
	}
	return s, root
}

func deployment(args ...any) pool.Command {
	c := pool.Command{Type: "deploy_file", Args: map[string]any{}}
	for i := 0; i < len(args); i += 2 {
		c.Args[args[i].(string)] = args[i+1]
	}
	return c
}

func TestDeployFile(t *testing.T) {
	s, root := deploySite(t)
	file := filepath.Join(root, "app.conf")
	deploy := func(args ...any) deployed {
		t.Helper()
		got := carriedOut(t, s, deployment(args...))
		text, ok := strings.CutPrefix(got, "succeeded ")
		var d deployed
		if err := json.Unmarshal([]byte(text), &d); !ok || err != nil {
			t.Fatalf("%s (%v)", got, err)
		}
		return d
	}
	wantFile := func(content string, mode os.FileMode) {
		t.Helper()
		b, err := os.ReadFile(file)
		if err != nil || string(b) != content {
			t.Errorf("holds %q, want %q, %v", b, content, err)
		}
		if info, err := os.Stat(file); err != nil || info.Mode() != mode {
			t.Errorf("mode %v, want %v, %v", info.Mode(), mode, err)
		}
	}
	sum := fmt.Sprintf("%x", sha256.Sum256([]byte("one\n")))
	d := deploy("path", file, "content", "one\n", "sha256", sum)
	if d.Path != file || d.Bytes != 4 || d.SHA256 != sum || d.Mode != "0644" || !d.Changed || d.Previous != "" {
		t.Errorf("%+v", d)
	}
	wantFile("one\n", 0o644)
	// base64, another mode; the former content is kept.
	d = deploy("path", file, "content", "AP9h", "encoding", "base64", "mode", "600")
	if b, err := os.ReadFile(d.Previous); err != nil || string(b) != "one\n" || d.Mode != "0600" {
		t.Errorf("%+v: previous holds %q, %v", d, b, err)
	}
	wantFile("\x00\xffa", 0o600)
	// A secret stays one when nobody speaks of its mode.
	if d = deploy("path", file, "content", "two"); d.Mode != "0600" {
		t.Errorf("%+v", d)
	}
	wantFile("two", 0o600)
	if d = deploy("path", file, "content", "two"); d.Changed || d.Previous != "" {
		t.Errorf("the same again: %+v", d)
	}
	for i := range 5 {
		d = deploy("path", file, "content", fmt.Sprint(i))
	}
	kept, err := os.ReadDir(filepath.Dir(d.Previous))
	if err != nil || len(kept) != 3 {
		t.Errorf("%d former contents are kept, want 3, %v", len(kept), err)
	}
	if b, _ := os.ReadFile(d.Previous); string(b) != "3" {
		t.Errorf("the last former content is %q", b)
	}
	if left, _ := os.ReadDir(root); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

// The state folder does not fill up with what happens to stand where a file is written.
func TestDeployFileKeepsNothingLarge(t *testing.T) {
	s, root := deploySite(t, func(c *Config) { c.Files.SizeMost = 10 })
	file := filepath.Join(root, "log")
	for size, want := range map[int]string{10: `"previous":"`, 11: `"not_kept":"the former content is more than files.max_bytes 10"`} {
		if err := os.WriteFile(file, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := carriedOut(t, s, deployment("path", file, "content", "small")); !strings.HasPrefix(got, "succeeded ") || !strings.Contains(got, `"changed":true`) || !strings.Contains(got, want) {
			t.Errorf("%d bytes: %s", size, got)
		}
	}
	if kept, err := os.ReadDir(filepath.Join(s.agent.state.dir, "previous", folderName(file))); err != nil || len(kept) != 1 {
		t.Errorf("kept %v, %v", kept, err)
	}
}

func TestDeployFileRefuses(t *testing.T) {
	s, root := deploySite(t, func(c *Config) { c.Files.SizeMost = 10 })
	outside := t.TempDir()
	secret := filepath.Join(outside, "secret")
	if err := os.WriteFile(secret, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	in := func(name string) string { return filepath.Join(root, name) }
	for _, err := range []error{
		os.Symlink(secret, in("link")), os.Symlink(outside, in("linked")), os.Symlink("missing", in("dangling")), os.Symlink("../..", in("up")),
		syscall.Mkfifo(in("fifo"), 0o600), os.Mkdir(in("folder"), 0o700), os.WriteFile(in("file"), []byte("old"), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		args []any
		want string
	}{
		{[]any{"path", secret, "content", "x"}, "is not below one of this node's files.roots (" + root + ")"},
		{[]any{"path", root + "-twin/f", "content", "x"}, "is not below"},
		{[]any{"path", root, "content", "x"}, "is not below"},
		{[]any{"path", root + "/../" + filepath.Base(root) + "/f", "content", "x"}, "is not a plain absolute path"},
		{[]any{"path", root + "/./f", "content", "x"}, "is not a plain absolute path"},
		{[]any{"path", root + "//f", "content", "x"}, "is not a plain absolute path"},
		{[]any{"path", in("folder") + "/", "content", "x"}, "is not a plain absolute path"},
		{[]any{"path", "f", "content", "x"}, "is not a plain absolute path"},
		{[]any{"path", root + "/a\x00b", "content", "x"}, "is not a plain absolute path"},
		{[]any{"path", 5.0, "content", "x"}, `path "" is not a plain absolute path`},
		{[]any{"path", in("link"), "content", "x"}, "is not a regular file (L"},
		{[]any{"path", in("dangling"), "content", "x"}, "is not a regular file (L"},
		{[]any{"path", in("linked/secret"), "content", "x"}, "path escapes from parent"},
		{[]any{"path", in("linked/new"), "content", "x"}, "path escapes from parent"},
		{[]any{"path", in("up/etc"), "content", "x"}, "path escapes from parent"},
		{[]any{"path", in("fifo"), "content", "x"}, "is not a regular file (p"},
		{[]any{"path", in("folder"), "content", "x"}, "is not a regular file (d"},
		{[]any{"path", in("file/below"), "content", "x"}, "not a directory"},
		{[]any{"path", in("none/f"), "content", "x"}, "the folder of " + in("none/f")},
		{[]any{"path", in("f")}, "it has no content"},
		{[]any{"path", in("f"), "content", 5.0}, "it has no content"},
		{[]any{"path", in("f"), "content", "*", "encoding", "base64"}, "is not base64"},
		{[]any{"path", in("f"), "content", "x", "encoding", "rot13"}, `encoding "rot13"`},
		{[]any{"path", in("f"), "content", "12345678901"}, "11 bytes are more than this node's files.max_bytes 10"},
		{[]any{"path", in("f"), "content", "x", "sha256", "00"}, `and "00" was said`},
		{[]any{"path", in("f"), "content", "x", "sha256", 5.0}, "was said"},
		{[]any{"path", in("f"), "content", "x", "mode", "4755"}, `mode "4755" is not octal`},
		{[]any{"path", in("f"), "content", "x", "mode", 420.0}, `mode "420" is not octal`},
		{[]any{"path", in("f"), "content", "x", "mode", "rw"}, `mode "rw" is not octal`},
		{[]any{"path", in("f"), "content", "x", "owner", "root"}, `owner "root" is not in this node's files.owners ()`},
	} {
		if got := carriedOut(t, s, deployment(c.args...)); !strings.HasPrefix(got, "refused: ") || !strings.Contains(got, c.want) {
			t.Errorf("%v:\n got %s\nwant %s", c.args, got, c.want)
		}
	}
	if b, err := os.ReadFile(secret); err != nil || string(b) != "mine" {
		t.Errorf("the secret outside holds %q, %v", b, err)
	}
	var names []string
	files, _ := os.ReadDir(root)
	for _, f := range files {
		names = append(names, f.Name())
	}
	if want := []string{"dangling", "fifo", "file", "folder", "link", "linked", "up"}; !slices.Equal(names, want) {
		t.Errorf("left behind: %q", names)
	}
}

func TestDeployFileGivesItAway(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can give files away")
	}
	s, root := deploySite(t, func(c *Config) { c.Files.Owners = []string{"nobody", "nobody:root", "gone"} })
	file := filepath.Join(root, "f")
	owned := func() (uid, gid uint32) {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		st := info.Sys().(*syscall.Stat_t)
		return st.Uid, st.Gid
	}
	carriedOut(t, s, deployment("path", file, "content", "x", "owner", "nobody:root"))
	uid, gid := owned()
	if uid == 0 || gid != 0 {
		t.Errorf("belongs to %d:%d", uid, gid)
	}
	// The next one leaves it with whom it was.
	carriedOut(t, s, deployment("path", file, "content", "y"))
	if u, g := owned(); u != uid || g != gid {
		t.Errorf("belongs to %d:%d", u, g)
	}
	if got := carriedOut(t, s, deployment("path", file, "content", "y", "owner", "gone")); !strings.Contains(got, "refused: owner: user: unknown user gone") {
		t.Error(got)
	}
}

func TestDeployFileWithoutAStateDir(t *testing.T) {
	s, root := deploySite(t, func(c *Config) { c.StateDir = "" })
	file := filepath.Join(root, "f")
	if got := carriedOut(t, s, deployment("path", file, "content", "1")); strings.Contains(got, "not_kept") {
		t.Errorf("there was nothing to keep: %s", got)
	}
	if got := carriedOut(t, s, deployment("path", file, "content", "2")); !strings.Contains(got, `"not_kept":"this node has no state_dir to keep the former content in"`) {
		t.Error(got)
	}
}

func TestFolderName(t *testing.T) {
	for path, want := range map[string]string{"/opt/app/a b": "opt!app!a b", "/opt/a!b": "opt!a!!b"} {
		if got := folderName(path); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	long := "/" + strings.Repeat("ö/", 1000)
	if a, b := folderName(long+"a"), folderName(long+"b"); a == b || len(a) > 255 || strings.Contains(a, "/") {
		t.Errorf("%s, %s", a, b)
	}
}
