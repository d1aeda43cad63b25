package packaging

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The versions that packaging/version makes of git's, each higher than those before it, for dpkg too.
func TestVersion(t *testing.T) {
	tree := t.TempDir()
	git := func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"}, args...)...)
		cmd.Dir = tree
		cmd.Env = append(os.Environ(), "GIT_COMMITTER_DATE=2026-11-22T18:02:00Z")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	if err := os.Mkdir(filepath.Join(tree, "packaging"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(tree, "packaging", "version"), []byte(read(t, "version")), 0o755); err != nil {
		t.Fatal(err)
	}
	before := ""
	is := func(want string) {
		t.Helper()
		cmd := exec.Command(filepath.Join(tree, "packaging", "version"))
		cmd.Env = append(os.Environ(), "GIT_CEILING_DIRECTORIES="+filepath.Dir(tree))
		out, err := cmd.Output()
		got := strings.TrimSuffix(string(out), "\n")
		if err != nil || !regexp.MustCompile(`^`+want+`$`).MatchString(got) {
			t.Errorf("%q, %v, want %s", got, err, want)
		}
		if before != "" {
			if out, err := exec.Command("dpkg", "--compare-versions", got, "gt", before).CombinedOutput(); err != nil {
				t.Errorf("dpkg sorts %s before %s %s", got, before, out)
			}
		}
		before = got
	}
	is(`0\.0\.0~unknown`)
	before = ""
	git("init", "--quiet")
	git("add", ".")
	git("commit", "--quiet", "-m", "one")
	is(`0\.0\.0~20261122180200\.g[0-9a-f]{12}`)
	git("tag", "v1.2.0-rc.1")
	is(`1\.2\.0~rc\.1`)
	git("commit", "--quiet", "--allow-empty", "-m", "two")
	is(`1\.2\.0~rc\.1\+1\.g[0-9a-f]{12}`)
	git("tag", "v1.2.0")
	is(`1\.2\.0`)
	if err := os.WriteFile(filepath.Join(tree, "new"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	is(`1\.2\.0\+0\.g[0-9a-f]{12}\.dirty`)
	git("add", ".")
	git("commit", "--quiet", "-m", "three")
	is(`1\.2\.0\+1\.g[0-9a-f]{12}`)
}
