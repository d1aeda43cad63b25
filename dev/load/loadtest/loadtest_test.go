package loadtest_test

import (
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/dev/load"
	"github.com/bazbeans/bazbeans/dev/load/loadtest"
)

// A load runs beside the test until End, which may be called again; one without an End is over with its test.
func TestALoadBesideTheTest(t *testing.T) {
	app, err := load.Listen("127.0.0.1:0", "web1")
	if err != nil {
		t.Fatal(err)
	}
	defer app.Close()
	opts := load.Options{URL: "http://" + app.Addr() + "/", Rate: 200}
	var kept *loadtest.Traffic
	t.Run("one that nobody ends", func(t *testing.T) {
		kept = loadtest.Start(t, opts)
	})
	sent := kept.End().Sent
	tr := loadtest.Start(t, opts)
	for began := time.Now(); tr.Counts().OK < 5; time.Sleep(time.Millisecond) {
		if time.Since(began) > time.Minute {
			t.Fatalf("%+v", tr.Counts())
		}
	}
	r := tr.End()
	if r.OK < 5 || r.Failed > 0 || r.OK != tr.Counts().OK || tr.End().OK != r.OK {
		t.Errorf("%+v, then %+v", r.Counts, tr.Counts())
	}
	if now := kept.Counts().Sent; now != sent {
		t.Errorf("%d requests after the end of the test", now-sent)
	}
}
