package agent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/pool"
	"github.com/bazbeans/bazbeans/trust"
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

func wantKnown(t *testing.T, j *journal, id string, want bool) {
	t.Helper()
	if _, ok := j.known(id); ok != want {
		t.Errorf("%s is known: %t", id, ok)
	}
}

func TestJournalRemembers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j := open(t, path)
	begin(t, j, "began", time.Hour)
	begin(t, j, "ended", time.Hour)
	begin(t, j, "told", time.Hour)
	begin(t, j, "old", -time.Hour)
	over := time.Now()
	for _, err := range []error{
		j.end("ended", &pool.Result{ID: "ended", State: pool.Failed, Stdout: "x"}), j.end("told", &pool.Result{ID: "told"}), j.told(&pool.Result{ID: "told", State: pool.TimedOut, Ended: over}),
		j.end("old", &pool.Result{ID: "old"}), j.told(&pool.Result{ID: "old"}), j.end("never begun", &pool.Result{}), j.told(&pool.Result{ID: "never begun"}),
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
			wantKnown(t, j, id, want)
		}
		if e, _ := j.known("told"); e.State != pool.TimedOut || !e.Over.Equal(over) {
			t.Errorf("what was told is forgotten: %+v", e)
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
		if err := j.told(&pool.Result{ID: id}); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Size() > 2<<20 {
		t.Errorf("%d bytes, %v", info.Size(), err)
	}
}

// The entry that makes the file long enough to be written anew is in the new one, too.
func TestJournalWrittenAnewHoldsTheLast(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j := open(t, path)
	begin(t, j, "first", time.Hour)
	j.limit = 0
	begin(t, j, "last", time.Hour)
	if j.limit == 0 {
		t.Fatal("not written anew")
	}
	j = open(t, path)
	wantKnown(t, j, "first", true)
	wantKnown(t, j, "last", true)
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
	wantKnown(t, j, "C1", false)
}

// A write that failed leaves a file that still knows all; nothing begins until it can be written anew.
func TestJournalAfterAFailedWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j := open(t, path)
	begin(t, j, "first", time.Hour)
	if err := j.file.Close(); err != nil { // any write fails now
		t.Fatal(err)
	}
	if err := j.begin(entry{ID: "lost", Keep: time.Now().Add(time.Hour)}); err == nil {
		t.Fatal("noted in a file that is closed")
	}
	begin(t, j, "second", time.Hour)
	if err := j.file.Close(); err != nil {
		t.Fatal(err)
	}
	if err := j.end("first", &pool.Result{State: pool.Failed}); err == nil {
		t.Fatal("noted in a file that is closed")
	}
	begin(t, j, "third", time.Hour)
	j = open(t, path)
	for id, want := range map[string]bool{"first": true, "lost": false, "second": true, "third": true} {
		wantKnown(t, j, id, want)
	}
	if j.damaged != 0 || !j.entries["first"].Ended {
		t.Errorf("%d lines damaged; %+v", j.damaged, j.entries["first"])
	}
}

func TestJournalOnAFullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can mount a small disk")
	}
	dir := t.TempDir()
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	path, filler := filepath.Join(dir, "journal"), filepath.Join(dir, "filler")
	fill := func() {
		t.Helper()
		f, err := os.Create(filler)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for err == nil {
			_, err = f.Write(make([]byte, 512))
		}
	}
	j := open(t, path)
	begin(t, j, "first", time.Hour)
	fill()
	noted := []string{"first"}
	var err error
	for i := 0; err == nil; i++ {
		id := fmt.Sprint(i)
		if err = j.begin(entry{ID: id, By: strings.Repeat("a", 300), Keep: time.Now().Add(time.Hour)}); err == nil {
			noted = append(noted, id)
		}
	}
	if err = j.begin(entry{ID: "full"}); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "nothing can be noted until the journal is written anew") {
		t.Fatalf("begun on a full disk: %v", err)
	}
	// An agent that starts now knows all that was begun, and begins nothing.
	young, err := openJournal(path, time.Now())
	if young == nil || !errors.Is(err, syscall.ENOSPC) || young.damaged != 0 {
		t.Fatalf("opened on a full disk: %+v, %v", young, err)
	}
	if err := young.begin(entry{ID: "full"}); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("begun on a full disk: %v", err)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	begin(t, young, "room", time.Hour)
	j = open(t, path)
	for _, id := range append(noted, "room") {
		wantKnown(t, j, id, true)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, journalTemp)); len(left) > 0 {
		t.Errorf("left %q", left)
	}
	wantKnown(t, j, "full", false)
}

// What a journal that was not there, was wiped or damaged can't know, it does not claim to know after a restart either.
func TestJournalKnowsSince(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	at := func(now time.Time) time.Time {
		t.Helper()
		j, err := openJournal(path, now)
		if err != nil {
			t.Fatal(err)
		}
		if err := j.close(); err != nil {
			t.Fatal(err)
		}
		return j.since
	}
	now := time.Now().UTC()
	if since := at(now); !since.Equal(now) {
		t.Errorf("new: %v", since)
	}
	if since := at(now.Add(time.Hour)); !since.Equal(now) {
		t.Errorf("at the next start: %v", since)
	}
	if since := at(now.Add(-time.Hour)); !since.Equal(now.Add(-time.Hour)) {
		t.Errorf("the clock was put right: %v", since)
	}
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	if since := at(now.Add(2 * time.Hour)); !since.Equal(now.Add(2 * time.Hour)) {
		t.Errorf("wiped: %v", since)
	}
	if err := os.WriteFile(path, []byte("{\"since\":\"2001-01-01T00:00:00Z\"}\nrubbish\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if since := at(now); !since.Equal(now) {
		t.Errorf("damaged: %v", since)
	}
}

// A disk that hangs holds up what is noted, and not the look at what is known.
func TestJournalIsAskedWhileItIsWritten(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "journal"))
	begin(t, j, "C1", time.Hour)
	j.writing.Lock()
	defer j.writing.Unlock()
	wantKnown(t, j, "C1", true)
	if len(j.untold()) != 1 {
		t.Error("its end is taken for told")
	}
}

// A state_dir that is new or was wiped can't tell which of the signed commands of before were run.
func TestSignedBeforeTheStateDirWasThere(t *testing.T) {
	key, err := trust.NewKey("ann")
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(t, func(c *Config) { c.TrustedKeys, c.StateDir = []string{key.Public().String()}, t.TempDir() })
	signed := func(issued time.Duration) job {
		c := pool.NewCommand("exec", "ann", time.Hour, nil)
		c.Issued = c.Issued.Add(issued)
		c, err := c.Sign("n1", key, nil)
		if err != nil {
			t.Fatal(err)
		}
		return job{t: pool.Taken{Command: c}}
	}
	captured, young := signed(-time.Second), signed(time.Minute)
	for _, start := range []string{"first", "second"} {
		if err := errors.Join(s.agent.prepareState(), s.agent.openState(t.Context())); err != nil {
			t.Fatal(err)
		}
		c := &commander{a: s.agent}
		if err := c.judge(&captured); err == nil || !strings.Contains(err.Error(), "issued before this agent began to remember") {
			t.Errorf("%s start: issued before: %v", start, err)
		}
		if err := c.judge(&young); err != nil {
			t.Errorf("%s start: issued after: %v", start, err)
		}
		if err := s.agent.state.close(); err != nil {
			t.Fatal(err)
		}
	}
}
