package agent

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/pool"
)

// Whatever somebody writes into the queue: without a signature nothing is admitted but what is harmless, and what the
// handlers of exec and deploy_file say to its arguments is a refusal, on a node that allows neither a program nor a root.
func FuzzAdmit(f *testing.F) {
	f.Add(`{"type":"exec","command":"ls; reboot"}`)
	f.Add(`{"type":"freeze","id":"A","expires":4e9,"reason":"x"}`)
	policy := defaultPolicy()
	policy.Exec.Allow = nil
	rules, err := policy.prepare()
	if err != nil {
		f.Fatal(err)
	}
	a := &Agent{cfg: Config{NodeID: "n1", AppDir: "/"}}
	a.rules.Store(rules)
	f.Fuzz(func(t *testing.T, raw string) {
		var c pool.Command
		if json.Unmarshal([]byte(raw), &c) != nil {
			return
		}
		got, signer, err := rules.admit(pool.Taken{Command: c}, "n1", nil, time.Now())
		if err == nil && (signer != "" || c.Signed != nil || !slices.Contains(harmless, got.Type)) {
			t.Errorf("admitted %+v", got)
		}
		for _, h := range []Handler{a.exec, a.deployFile} {
			result, err := h(t.Context(), c)
			r := pool.Result{Started: time.Now()}
			if outcome(&r, result, err, false); r.State != pool.Refused {
				t.Errorf("%+v: %+v", c, r)
			}
		}
	})
}
