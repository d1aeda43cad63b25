// Package loadtest sends a load in the background of a test. What must come of
// it is for the test to say.
package loadtest

import (
	"context"
	"testing"

	"github.com/bazbeans/bazbeans/dev/load"
)

// Traffic is a load that is under way. Its Counts may be looked at any time.
type Traffic struct {
	*load.Generator
	stop   func()
	report load.Report // once stop has returned
}

// Start sends requests until the test is over, or End is called.
func Start(t testing.TB, opts load.Options) *Traffic {
	t.Helper()
	gen, err := load.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	tr := &Traffic{Generator: gen}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		var err error
		if tr.report, err = gen.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	tr.stop = func() { cancel(); <-ended }
	t.Cleanup(tr.stop)
	return tr
}

// End ends the load and returns what it came to.
func (tr *Traffic) End() load.Report {
	tr.stop()
	return tr.report
}
