package main

import (
	"fmt"
	"os"
	"testing"
	"time"
)

func TestUsedByIsWhatTheKernelSays(t *testing.T) {
	for end := time.Now().Add(10 * time.Second); selfCPU() < 100*time.Millisecond && time.Now().Before(end); {
	}
	before := selfCPU()
	u, err := usedBy(os.Getpid(), false)
	if err != nil {
		t.Fatal(err)
	}
	if after := selfCPU(); u.cpu < before-2*tick || u.cpu > after+2*tick || u.rss < 1<<20 || u.rss > 1<<33 {
		t.Errorf("%+v, want between %v and %v", u, before, after)
	}
	if _, err := usedBy(1<<30, false); err == nil {
		t.Error("no error for a process that is not there")
	}
}

func TestFrontUseCountsAllProcesses(t *testing.T) {
	s := newSite(t)
	web, err := startWeb(t.Context(), s, "web", webOptions{})
	if err != nil {
		t.Fatal(err)
	}
	err = await(t.Context(), func() error { // the pid file is written before the workers are started
		pids, err := web.tree()
		if err == nil && (len(pids) != 1+workers || pids[0] != web.Master()) {
			err = fmt.Errorf("processes %v, want the master %d and %d workers", pids, web.Master(), workers)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	u, err := frontUse(web)
	if err != nil || u.rss < 3<<20 {
		t.Errorf("%+v %v", u, err)
	}
	if err := web.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := frontUse(web); err == nil {
		t.Error("no error for an nginx that has ended")
	}
}

func TestReplaced(t *testing.T) {
	if n := replaced([]int{1, 2, 3}, []int{1, 3, 4, 5}); n != 1 {
		t.Errorf("%d, want 1", n)
	}
}
