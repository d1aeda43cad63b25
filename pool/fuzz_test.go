package pool

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// The targets here feed what anybody with write access to Redis may write to what reads it.

func FuzzNode(f *testing.F) {
	f.Add(`{"timestamp":1.5,"agent":"1.0","cpu_percent":12}`, `{"by":"ann","at":"","reason":"swap"}`, "10.0.1.10", "8000", "1", `{"rack":"a"}`, "active", "true")
	f.Add(`{"agent":{},"cpu_percent":"NaN","timestamp":1e308}`, `[`, "unix:/var/run/docker.sock", "８０", "1e9", `{"k":1}`, "x\r\ny", "\x00")
	f.Add(`{"agent":"a","agent":"b"}`, `null`, "::ffff:127.0.0.1", "80 backup", "-0", `{"a;b":"{{.}}"}`, "\u202e", "TRUE")
	f.Add(strings.Repeat("[", 5000), "", "fe80::1%eth0", "65536", "1001", `{"a":"`+strings.Repeat("x", 300)+`"}`, "", "")
	f.Fuzz(func(t *testing.T, heartbeat, freeze, address, port, weight, labels, text, flag string) {
		n := Node{ID: "web1", Registered: true, Active: true, Freeze: decodeFreeze(map[string]string{"web1": freeze}, "web1")}
		n.decodeHeartbeat(30*time.Second, heartbeat, time.Now())
		fields := []string{"status", "details", "data_center", "is_frozen", "self_freeze", "left", "rev", "timestamp", "agent", "instance", "address", "port", "weight", "labels"}
		n.decodeStatus(fields, []any{text, text, text, flag, text, flag, text, text, text, text, address, port, weight, labels})
		if n.Freeze == nil || n.State() != Frozen {
			t.Error("a freeze that can't be read does not freeze")
		}
		n.Freeze = nil
		for what, s := range map[string]string{"status": n.Status, "details": n.Details, "data center": n.DataCenter, "self freeze": n.SelfFreeze, "agent": n.Agent, "instance": n.Instance} {
			if len(s) > textMost || !utf8.ValidString(s) {
				t.Errorf("%s is %d bytes, or not text", what, len(s))
			}
		}
		if !n.Wanted() {
			return
		}
		if n.Weight < 0 || n.Weight > MaxWeight || CheckLabels(n.Labels) != nil || n.Address.Zone() != "" || n.Address.Is4In6() {
			t.Errorf("it is wanted: %+v", n)
		}
		if n.Agent == "" && (n.Address.IsValid() || n.Port != 0 || n.Weight != 1 || n.Labels != nil) {
			t.Errorf("what is left over of another agent counts: %+v", n)
		}
		for _, m := range []float64{n.Metrics.CPU, n.Metrics.Memory, n.Metrics.Disk} {
			if !(m >= 0 && m <= 100) {
				t.Errorf("metrics %+v", n.Metrics)
			}
		}
	})
}

func FuzzAddress(f *testing.F) {
	for _, s := range []string{"10.0.1.10", "fd00::10", "::ffff:127.0.0.1", "fe80::1%eth0", "010.0.0.1", "2130706433", "0x7f.1", "1.2.3.4:80", "1.2.3.4.", "unix:/x", "８０", "80-90", "+80", "8e1", "0", "65536"} {
		f.Add(s)
	}
	plain := func(s, letters string) bool { return strings.Trim(s, letters) == "" }
	f.Fuzz(func(t *testing.T, s string) {
		if a, err := ParseAddress(s); err == nil {
			if again, err := ParseAddress(a.String()); err != nil || again != a || !plain(a.String(), "0123456789abcdef.:") {
				t.Errorf("%q is %s, and that is %s, %v", s, a, again, err)
			}
		}
		if n, err := ParsePort(s); err == nil && (n == 0 || !plain(s, "0123456789")) {
			t.Errorf("%q is port %d", s, n)
		}
		if n, err := ParseWeight(s); err == nil && (n < 0 || n > MaxWeight || !plain(s, "0123456789")) {
			t.Errorf("%q is weight %d", s, n)
		}
		if CheckID(s) == nil && (len(s) > 128 || !plain(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz0123456789._-")) {
			t.Errorf("%q is an id", s)
		}
	})
}

func FuzzEvent(f *testing.F) {
	f.Add(`{"event":"node_frozen","node_id":"web1","timestamp":"2026-01-01T00:00:00Z","reason":"r","active_nodes":[],"rev":3,"prev":2}`)
	f.Add(`{"event":"node_registered","node_port":"8000"}`)
	f.Add(`{"event":5}`)
	f.Fuzz(func(t *testing.T, payload string) {
		e := decodeEvent(payload)
		if e == nil {
			return
		}
		b, err := json.Marshal(e)
		if err != nil || e.Kind == "" {
			t.Fatalf("%+v: %v", e, err)
		}
		if again := decodeEvent(string(b)); len(b) <= eventMost && (again == nil || again.Rev != e.Rev || !slices.Equal(again.ActiveNodes, e.ActiveNodes)) {
			t.Errorf("%+v was %+v", again, e)
		}
	})
}

func FuzzAck(f *testing.F) {
	f.Add("1700000000123", "7", `["web2"]`, "1", `[{"id":"web4","why":"x"}]`, "false")
	f.Add("-1", "1e3", `{}`, "x", `[{"id":5}]`, "TRUE")
	f.Fuzz(func(t *testing.T, rev, generation, held, draining, refused, blind string) {
		b := decodeLB("lb1", map[string]string{"rev": rev, "generation": generation, "held": held, "draining": draining, "refused": refused, "blind": blind, "error": held, "at": rev})
		if len(b.Error) > textMost || !utf8.ValidString(b.Error) || len(b.Refused) > refusalsMost {
			t.Errorf("%+v", b)
		}
		var list []string
		if json.Unmarshal([]byte(held), &list) != nil && !b.Silent {
			t.Errorf("what it holds can't be read, and it counts as if it held nothing: %+v", b)
		}
	})
}

func FuzzCommand(f *testing.F) {
	f.Add(`{"type":"exec","command":"ls -l","id":"A","by":"ann","issued":1.5,"expires":2.5,"signed":{"key":"k"}}`)
	f.Add(`{"type":"freeze","reason":5,"id":["x"],"expires":"soon"}`)
	f.Add(`{"type":"a","type":"b","expires":1e400}`)
	f.Add(`[]`)
	f.Fuzz(func(t *testing.T, raw string) {
		taken := readTaken(raw)
		var c Command
		if json.Unmarshal([]byte(raw), &c) != nil || taken.Err != nil {
			return
		}
		if c.Type == "" || len(c.ID) > textMost || len(c.By) > textMost || !utf8.ValidString(c.By) {
			t.Errorf("%+v", c)
		}
		b, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		var again Command
		if err := json.Unmarshal(b, &again); err != nil || again.Type != c.Type || again.ID != c.ID || !again.Expires.Equal(c.Expires) {
			t.Errorf("%+v was %+v, %v", again, c, err)
		}
	})
}
