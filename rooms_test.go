package bazbeans_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/bazbeans/bazbeans"

// rooms says on which floor each package is. Imports only go down, and siblings on a floor do not import each other.
// The floors are explained in ARCHITECTURE.md.
var rooms = map[string]int{
	"step": -1, "conf": -1, "ngxconf": -1, "trust": -1, "fswatch": -1,
	"pool": 0, "cli": 0, "templates": 0, "nginx-test/cases": 0,
	"resolvers": 1, "render": 1,
	"resolvers/resolvertest": 2,
	"lbd/live/names":         2,
	"lbd/nginx":              2,
	"lbd/live":               1,
	"lbd/live/lua":           2,
	"lbd":                    3, "agent": 3, "ctl": 3,
	"dev":     4,
	"harness": 4,
	"cmd/lbd": 5, "cmd/bbagent": 5, "cmd/bbctl": 5, "cmd/bbdev": 5, "nginx-test/compose": 5, "cmd/bbinit": 5, "dev/bench": 5, "dev/faults": 5, "dev/man": 5, "packaging/changelog": 5,
	// Beside the house: real servers, load and pictures for tests, the demo and the benchmark. They import nothing of it.
	"nginx-test":      -1, // tests, and a page about them
	"systemd":         -1, // units, and tests that boot a Debian with them
	"nginx-test/base": -1, "nginx-test/base/enter": -1, "nginx-test/base/roots": 0,
	"dev/machine": 0, "dev/servers": -1, "dev/servers/serverstest": 0, "dev/load": -1, "dev/load/loadtest": 0, "dev/load/plot": -1, "dev/shot": -1,
}

// foreign lists what must not be linked into a binary that stays compact.
var foreign = map[string][]string{
	"cmd/bbctl":   {"lbd", "lbd/nginx", "dev", "agent", "render"},
	"cmd/bbagent": {"lbd", "lbd/nginx", "dev", "ctl", "render"},
}

type listed struct {
	ImportPath    string
	Imports, Deps []string
	GoFiles       []string
}

func TestRooms(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports,Deps,GoFiles", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		name, ok := room(p.ImportPath)
		if !ok || len(p.GoFiles) == 0 {
			continue // tests only
		}
		seen++
		floor, known := rooms[name]
		if !known {
			t.Errorf("package %s has no floor: give it one in rooms, and in ARCHITECTURE.md", name)
		}
		for _, path := range p.Imports {
			if other, ok := room(path); ok && rooms[other] >= floor {
				t.Errorf("%s (floor %d) imports %s (floor %d): imports only go down", name, floor, other, rooms[other])
			}
		}
		for _, other := range foreign[name] {
			if slices.Contains(p.Deps, module+"/"+other) {
				t.Errorf("%s links %s: it must stay compact", name, other)
			}
		}
	}
	if seen < len(foreign) {
		t.Fatalf("only %d packages seen", seen)
	}
}

func room(path string) (string, bool) { return strings.CutPrefix(path, module+"/") }
