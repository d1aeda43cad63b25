package nginxtest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// programs are what agents run as commands: a folder for their commands_dir.
func (s *site) programs(byType map[string]string) (dir string) {
	s.t.Helper()
	dir = filepath.Join(s.dir, "commands.d")
	if err := os.Mkdir(dir, 0o700); err != nil {
		s.t.Fatal(err)
	}
	for kind, text := range byType {
		write(s.t, filepath.Join(dir, kind), text)
		if err := os.Chmod(filepath.Join(dir, kind), 0o700); err != nil {
			s.t.Fatal(err)
		}
	}
	return dir
}

// operatorsKey makes a key that signs commands, and returns its file and its public line.
func (s *site) operatorsKey() (file, public string) {
	s.t.Helper()
	file = filepath.Join(s.dir, "ops.key")
	return file, strings.TrimSpace(s.bbctl("keygen", "--out", file))
}

// An operator has a node carry out a program of its commands_dir, and commands of its service: signed, sealed, or
// without where the node lets them.
func TestRunOfProgramsAndServices(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{})
	key, public := s.operatorsKey()
	dir := s.programs(map[string]string{
		"clear_cache": "#!/bin/sh\nsed -n 's/.*\"by\":\"\\([^\"]*\\)\".*\"what\":\"\\([a-z]*\\)\".*/{\"cleared\":\"\\2\",\"for\":\"\\1\"}/p'\necho careful >&2\n",
		"logs":        "#!/bin/sh\nsed -n 's/.*\"lines\":\\([0-9]*\\).*/[\\1]/p'\n", // the service's own way
	})
	config := filepath.Join(s.dir, "web1.yaml")
	write(t, config, fmt.Sprintf("trusted_keys: [%q]\nallow_unsigned: [logs]\ncommands_dir: %q\n", public, dir))
	s.agentOf(s.application("web1", "127.0.0.1:0"), "--config", config)
	s.wantServers("web1")

	clear := []string{"--as", "ann@desk", "run", "clear_cache", "web1", "--arg", "what=pages"}
	const cleared = `{"cleared":"pages","for":"ann@desk"}` + "\n"
	s.bbctlExit(1, clear...).want(t, 1, "web1: clear_cache refused: ", "sign it with --key FILE")
	if r := s.bbctlExit(0, append(clear, "--key", key)...); r.stdout != cleared || r.stderr != "careful\n" {
		t.Errorf("signed: %v", r)
	}
	if r := s.bbctlExit(0, append(clear, "--key", key, "--seal")...); r.stdout != cleared {
		t.Errorf("sealed: %v", r)
	}
	if r := s.bbctlExit(0, "run", "logs", "web1", "--arg-json", "lines=50"); r.stdout != "[50]\n" {
		t.Errorf("by the service, unsigned: %v", r)
	}
	s.bbctlExit(1, "run", "pull", "web1", "--key", key).want(t, 1, "web1: pull refused: this node has no service")
	s.bbctlExit(1, "run", "clear-cache", "web1", "--key", key).want(t, 1, "web1: clear-cache refused: ")
	s.bbctlExit(0, "__complete", "run", "").want(t, 0, "clear_cache\nlogs\npull\nstatus\n")
	s.bbctlExit(0, "history", "web1").want(t, 0, "clear_cache succeeded", "clear_cache refused", "ann@desk")
}
