package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/pool"
)

func open(t *testing.T, path string) *journal {
	t.Helper()
	j, err := openJournal(path, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.close() })
	return j
}

func begin(t *testing.T, j *journal, id string, keep time.Duration) {
	t.Helper()
	if err := j.begin(entry{ID: id, Type: "exec", By: "ann", Begun: time.Now(), Keep: time.Now().Add(keep)}); err != nil {
		t.Fatal(err)
	}
}

func TestJournalRemembers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j := open(t, path)
	begin(t, j, "began", time.Hour)
	begin(t, j, "ended", time.Hour)
	begin(t, j, "told", time.Hour)
	begin(t, j, "old", -time.Hour)
	for _, err := range []error{
		j.end("ended", &pool.Result{ID: "ended", State: pool.Failed, Stdout: "x"}), j.end("told", &pool.Result{ID: "told"}), j.told("told"),
		j.end("old", &pool.Result{ID: "old"}), j.told("old"), j.end("never begun", &pool.Result{}), j.told("never begun"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v: outputs of commands are in it", info.Mode(), err)
	}
	// A crash cuts the last line; another hand damages one.
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("rubbish\n{\"id\":\"half"); err != nil {
		t.Fatal(err)
	}
	f.Close()
	for range 2 { // also what was written anew
		j = open(t, path)
		var untold []string
		for _, e := range j.untold() {
			said := e.ID
			if e.Result != nil {
				said += " " + string(e.Result.State) + " " + e.Result.Stdout
			}
			untold = append(untold, said)
		}
		if got := strings.Join(untold, ", "); got != "began, ended failed x" && got != "ended failed x, began" {
			t.Errorf("untold: %s", got)
		}
		for id, want := range map[string]bool{"began": true, "ended": true, "told": true, "old": false, "half": false, "never begun": false} {
			if ok := j.known(id); ok != want {
				t.Errorf("%s is known: %t", id, ok)
			}
		}
	}
	if j.damaged != 0 {
		t.Errorf("%d damaged lines were kept", j.damaged)
	}
}

func TestJournalStaysSmall(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j := open(t, path)
	big := strings.Repeat("x", 200<<10)
	for i := range 50 {
		id := fmt.Sprint(i)
		begin(t, j, id, -time.Second)
		if err := j.end(id, &pool.Result{Stdout: big}); err != nil {
			t.Fatal(err)
		}
		if err := j.told(id); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Size() > 2<<20 {
		t.Errorf("%d bytes, %v", info.Size(), err)
	}
}

func TestJournalIsBounded(t *testing.T) {
	j := newJournal()
	for i := range journalMost {
		begin(t, j, fmt.Sprint(i), time.Hour)
	}
	if err := j.begin(entry{ID: "more", Keep: time.Now().Add(time.Hour)}); err == nil {
		t.Error("one more than the most was noted")
	}
}

// A folder that was taken away must not let a command run that nobody remembers.
func TestJournalThatCannotBeWritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	j := open(t, filepath.Join(dir, "journal"))
	if err := j.file.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := j.begin(entry{ID: "C1", Keep: time.Now().Add(time.Hour)}); err == nil {
		t.Error("noted nowhere")
	}
	if j.known("C1") {
		t.Error("known, and not on the disk")
	}
}
