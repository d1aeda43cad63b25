package docker

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/bazbeans/bazbeans/dev/load"
	"github.com/bazbeans/bazbeans/dev/load/loadtest"
)

// traffic is constant GETs to one address.
type traffic struct {
	*loadtest.Traffic
	t *testing.T
}

func startTraffic(t *testing.T, addr string) *traffic {
	t.Helper()
	// How long an answer takes on a machine with other work says nothing; that it fails does.
	opts := load.Options{URL: "http://" + addr + "/", Rate: 50, Conns: 8, Timeout: soon, MaxWaiting: 50 * 600}
	return &traffic{loadtest.Start(t, opts), t}
}

// reaches waits until exactly these nodes answer, or if there is only a number, so many.
func (tr *traffic) reaches(n int, nodes ...string) {
	tr.t.Helper()
	slices.Sort(nodes)
	before := tr.Counts()
	eventually(tr.t, func() error {
		now := tr.Counts()
		since := now.Sub(before)
		if since.OK < 60 {
			return fmt.Errorf("too few answers: %+v", since)
		}
		before = now
		got := slices.Sorted(maps.Keys(since.ByNode))
		for _, node := range got {
			if since.ByNode[node] == 0 {
				got = slices.DeleteFunc(got, func(s string) bool { return s == node })
			}
		}
		if len(got) != n || len(nodes) > 0 && !slices.Equal(got, nodes) {
			return fmt.Errorf("answers come from %v, want %d nodes %v", since.ByNode, n, nodes)
		}
		return nil
	})
}

// goOn waits until some more requests were answered.
func (tr *traffic) goOn(n int64) {
	tr.t.Helper()
	want := tr.Counts().OK + n
	eventually(tr.t, func() error {
		if got := tr.Counts().OK; got < want {
			return fmt.Errorf("%d requests answered, want %d", got, want)
		}
		return nil
	})
}

// unharmed ends the traffic: not one request may have failed.
func (tr *traffic) unharmed() {
	tr.t.Helper()
	r := tr.End()
	tr.t.Logf("%d GETs, %d of them repeated", r.Sent, r.Repeated)
	if r.Failed > 0 || r.Sent == 0 {
		tr.t.Errorf("traffic was harmed: %+v", r.Counts)
	}
}
