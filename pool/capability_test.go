package pool_test

import (
	"fmt"
	"testing"

	"github.com/bazbeans/bazbeans/pool"
)

func TestCapabilities(t *testing.T) {
	onEach(t, "", func(t *testing.T, w world) {
		ctx := t.Context()
		reg := registration("web1")
		reg.Commands, reg.SealKey = []string{"exec", "freeze"}, "bazbeans-x25519 AAAA"
		m, _, err := w.Register(ctx, reg, "")
		if err != nil {
			t.Fatal(err)
		}
		w.python(t, "py1", "10.0.0.9")
		all, err := w.Capabilities(ctx, "py1", "web1", "ghost")
		if want := "[{[] } {[exec freeze] bazbeans-x25519 AAAA} {[] }]"; err != nil || fmt.Sprint(all) != want {
			t.Errorf("got %v, %v, want %s", all, err, want)
		}
		reg.Commands = []string{"stop"}
		if err := m.Update(reg); err != nil {
			t.Fatal(err)
		}
		if _, err := m.Heartbeat(ctx, pool.Metrics{}); err != nil {
			t.Fatal(err)
		}
		w.rdb.HSet(ctx, "bazbeans:node:py1:status", "commands", `{"not":"a list"}`)
		all, err = w.Capabilities(ctx, "web1", "py1")
		if err != nil || fmt.Sprint(all[0].Commands, all[1].Commands) != "[stop] []" {
			t.Errorf("got %v, %v", all, err)
		}
	})
}
