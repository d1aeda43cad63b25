package lbd

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/render"
)

func servers(ids string) []render.Server {
	var list []render.Server
	for _, id := range strings.Fields(ids) {
		id, down := strings.CutSuffix(id, "!")
		list = append(list, render.Server{ID: id, Weight: 1, Down: down,
			Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, id[len(id)-1]}), 80)})
	}
	return list
}

func keptIDs(v verdict) string { return strings.Join(v.keptIDs(), " ") }

var (
	guardDefaults = GuardConfig{MinNodes: 1, MaxShrink: 50, Window: time.Minute, Hold: time.Minute}
	noon          = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
)

func in(ids string) func(string) bool {
	return func(id string) bool { return strings.Contains(" "+ids+" ", " "+id+" ") }
}

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		name, served, want, lost, dead, kept string
	}{
		{"first start, nobody there", "", "", "", "", ""},
		{"first start, one there", "", "a", "", "", ""},
		{"nothing changes", "a b", "a b", "", "", ""},
		{"one more", "a b", "a b c", "", "", ""},
		{"half is lost", "a b c d", "a b", "c d", "c d", ""},
		{"more than half is lost", "a b c d", "a", "b c d", "b c d", "b c d"},
		{"more than half is lost, one of them replaced", "a b c d", "a x", "b c d", "b c d", "b c d"},
		{"all are lost", "a b c", "", "a b c", "a b c", "a b c"},
		{"most are frozen: that is somebody's will", "a b c d", "a", "", "", ""},
		{"all are frozen: one has to stay", "a b c", "", "", "", "a"},
		{"all are frozen, the first is dead: a living one stays", "a b c", "", "", "a", "b"},
		{"all are down in a hash", "a b", "a! b!", "", "", "a"},
		{"the only one is frozen", "a", "", "", "", "a"},
		{"the only one is replaced", "a", "b", "a", "a", "a"},
		{"cleaned up or forgotten counts as gone", "a b c", "", "a b c", "a b c", "a b c"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var h history
			if c.served != "" {
				h.add(noon, guardDefaults.Window, servers(c.served))
			}
			v := judge(guardDefaults, noon.Add(time.Second), &h, servers(c.want), facing(c.lost, c.dead))
			if got := keptIDs(v); got != c.kept || (v.why == "") != (c.kept == "") {
				t.Errorf("kept %q (%s), want %q", got, v.why, c.kept)
			}
		})
	}
}

// facing is what the guard is told: these are gone unasked, those are dead; nothing is approved, no grace.
func facing(gone, dead string) about {
	return about{gone: in(gone), lost: in(gone), alive: func(id string) bool { return !in(dead)(id) }, approved: in(""),
		grace: func(string) time.Time { return time.Time{} }}
}

// holding looks again and again as the loop does, and serves what it finds.
func holding(h *history, now time.Time, want, gone string) string {
	v := judge(guardDefaults, now, h, servers(want), facing(gone, gone))
	h.heldSince = v.heldSince
	h.serve(now, guardDefaults.Window, replace(servers(want), v.kept), v)
	return keptIDs(v)
}

func TestJudgeBelievesAfterTheHold(t *testing.T) {
	var h history
	h.add(noon, guardDefaults.Window, servers("a b c d e f g h i"))
	look := func(after time.Duration, want, gone, kept string) {
		t.Helper()
		if got := holding(&h, noon.Add(after), want, gone); got != kept {
			t.Errorf("after %s: kept %q, want %q", after, got, kept)
		}
	}
	look(1*time.Second, "a b c d", "e f g h i", "e f g h i")
	look(60*time.Second, "a b c d", "e f g h i", "e f g h i")
	look(61*time.Second, "a b c d", "e f g h i", "")
	// A second loss is a new one, with a hold of its own.
	look(90*time.Second, "a", "b c d e f g h i", "b c d")
	look(149*time.Second, "a", "b c d e f g h i", "b c d")
	look(150*time.Second, "a", "b c d e f g h i", "")
	// But nobody at all is never believed.
	look(200*time.Second, "", "a b c d e f g h i", "a")
	look(time.Hour, "", "a b c d e f g h i", "a")
}

func TestJudgeNeverBelievesThatAllAreGone(t *testing.T) {
	var h history
	h.add(noon, guardDefaults.Window, servers("a b c"))
	for _, after := range []time.Duration{time.Second, time.Minute, time.Hour, 24 * time.Hour} {
		if got := holding(&h, noon.Add(after), "", "a b c"); got != "a b c" {
			t.Errorf("after %s: kept %q", after, got)
		}
	}
	if got := holding(&h, noon.Add(25*time.Hour), "a b", "c"); got != "" || !h.heldSince.IsZero() {
		t.Errorf("most are back: kept %q", got)
	}
}

// Those of a hold that come back one by one must not be what takes out the others.
func TestAHoldLastsUntilAllAreBack(t *testing.T) {
	var h history
	h.add(noon, guardDefaults.Window, servers("a b c d e f g h i j"))
	all := strings.Fields("a b c d e f g h i j")
	if got := holding(&h, noon.Add(time.Second), "", strings.Join(all, " ")); len(strings.Fields(got)) != 10 {
		t.Fatalf("kept %q", got)
	}
	for back := 1; back < 10; back++ {
		got := holding(&h, noon.Add(time.Duration(back+1)*time.Second), strings.Join(all[:back], " "), strings.Join(all[back:], " "))
		if got != strings.Join(all[back:], " ") {
			t.Errorf("%d are back: kept %q", back, got)
		}
	}
	if got := holding(&h, noon.Add(12*time.Second), strings.Join(all, " "), ""); got != "" || !h.heldSince.IsZero() {
		t.Errorf("all are back: kept %q, held since %s", got, h.heldSince)
	}
	// One that never comes back is believed when the hold is over.
	h = history{}
	h.add(noon, guardDefaults.Window, servers("a b c d"))
	holding(&h, noon.Add(time.Second), "", "a b c d")
	if got := holding(&h, noon.Add(2*time.Second), "a b c", "d"); got != "d" {
		t.Errorf("kept %q", got)
	}
	if got := holding(&h, noon.Add(62*time.Second), "a b c", "d"); got != "" {
		t.Errorf("after the hold: kept %q", got)
	}
}

// Nothing is kept where another is wanted: it would be served twice.
func TestNothingIsKeptAtATakenAddress(t *testing.T) {
	var h history
	h.add(noon, guardDefaults.Window, servers("a b c"))
	again := servers("x b c")
	again[0].Addr = h.newest()["a"].Addr
	q := facing("a", "a")
	q.grace = func(string) time.Time { return noon.Add(time.Hour) }
	if v := judge(guardDefaults, noon.Add(time.Second), &h, again, q); len(v.kept) != 0 {
		t.Errorf("kept %q", keptIDs(v))
	}
}

// Agents cut off from Redis expire one after another: no single step is large.
func TestJudgeComparesOverTheWindow(t *testing.T) {
	var h history
	all := strings.Fields("a b c d e f g h i j")
	h.add(noon, guardDefaults.Window, servers(strings.Join(all, " ")))
	now := noon
	for gone := 1; gone <= 9; gone++ {
		now = now.Add(time.Second)
		lost := strings.Join(all[:gone], " ")
		want := servers(strings.Join(all[gone:], " "))
		v := judge(guardDefaults, now, &h, want, facing(lost, lost))
		if held := gone > 5; (len(v.kept) > 0) != held {
			t.Fatalf("%d of 10 are lost: kept %q", gone, keptIDs(v))
		}
		h.heldSince = v.heldSince
		h.serve(now, guardDefaults.Window, replace(want, v.kept), v)
	}
	if n := len(h.newest()); n != 5 {
		t.Errorf("%d are served at the end, want the 5 that were left when it began to look suspicious", n)
	}
	// They come back: nothing is held any more, and no clock runs on.
	if v := judge(guardDefaults, now.Add(time.Second), &h, servers(strings.Join(all, " ")), facing("", "")); v.why != "" || !v.heldSince.IsZero() {
		t.Errorf("%+v", v)
	}
}

func TestHistoryForgets(t *testing.T) {
	var h history
	h.add(noon, time.Minute, servers("a b c"))
	h.add(noon.Add(time.Second), time.Minute, servers("a"))
	if n := len(h.largest(noon.Add(30*time.Second), time.Minute)); n != 3 {
		t.Errorf("within the window: %d", n)
	}
	if n := len(h.largest(noon.Add(2*time.Minute), time.Minute)); n != 1 {
		t.Errorf("after the window: %d", n)
	}
	for i := range 1000 {
		h.add(noon.Add(time.Duration(i)*time.Second), time.Minute, servers([]string{"a b", "a b c"}[i%2]))
	}
	if len(h.sets) > 70 {
		t.Errorf("%d sets are kept", len(h.sets))
	}
	for i := range 1000 { // nothing changes in a long window
		h.add(noon.Add(time.Duration(1000+i)*time.Second), time.Hour, servers("a b"))
	}
	if len(h.sets) > 70 {
		t.Errorf("%d sets are kept", len(h.sets))
	}
}

func TestDifference(t *testing.T) {
	var h history
	h.add(noon, time.Minute, servers("a b c"))
	changed := servers("a x c!")
	changed[0].Weight = 5
	if got := difference(h.newest(), changed); got != "~a +x -b -c" {
		t.Errorf("got %q", got)
	}
	var many []string
	for i := range 30 {
		many = append(many, fmt.Sprintf("n%02d", i))
	}
	if got := difference(nil, servers(strings.Join(many, " "))); !strings.HasSuffix(got, "+n19 and 10 more") {
		t.Errorf("got %q", got)
	}
}
