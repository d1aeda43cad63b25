package trust

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func order() Order {
	return Order{Node: "web1", ID: "C1", Type: "exec", By: "ann@desk", Issued: now, Expires: now.Add(5 * time.Minute),
		Args: map[string]any{"argv": []any{"docker", "ps"}}}
}

func newKey(t *testing.T, comment string) PrivateKey {
	t.Helper()
	k, err := NewKey(comment)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func ringOf(t *testing.T, keys ...PrivateKey) Ring {
	t.Helper()
	var entries []string
	for _, k := range keys {
		entries = append(entries, k.Public().String())
	}
	r, err := NewRing(entries)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func sign(t *testing.T, k PrivateKey, o Order, to *SealKey) json.RawMessage {
	t.Helper()
	field, err := k.Sign(o, to)
	if err != nil {
		t.Fatal(err)
	}
	return field
}

func TestWhatIsSignedComesBack(t *testing.T) {
	k := newKey(t, "ann's laptop")
	own, err := OwnKey(filepath.Join(t.TempDir(), "seal.key"))
	if err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]*SealKey{"open": nil, "sealed": own.Public()} {
		field := sign(t, k, order(), to)
		o, err := ringOf(t, newKey(t, ""), k).Verify(field, "web1", now.Add(time.Minute), own)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got, want := fmt.Sprint(o.Node, o.ID, o.Type, o.By, o.Issued.UTC(), o.Expires.UTC(), o.Args, o.Key.Comment),
			fmt.Sprint("web1", "C1", "exec", "ann@desk", now, now.Add(5*time.Minute), order().Args, "ann's laptop"); got != want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, want)
		}
		var e envelope
		if err := json.Unmarshal(field, &e); err != nil {
			t.Fatal(err)
		}
		if readable := strings.Contains(string(e.Payload), "docker"); readable != (to == nil) {
			t.Errorf("%s: payload %s", name, e.Payload)
		}
	}
}

func TestRefused(t *testing.T) {
	k, stranger := newKey(t, "ann"), newKey(t, "mallory")
	own, err := OwnKey(filepath.Join(t.TempDir(), "seal.key"))
	if err != nil {
		t.Fatal(err)
	}
	other, err := OwnKey(filepath.Join(t.TempDir(), "seal.key"))
	if err != nil {
		t.Fatal(err)
	}
	plainField, sealedField := sign(t, k, order(), nil), sign(t, k, order(), own.Public())
	// forge changes the envelope, and keeps the signature as it is unless it makes another.
	forge := func(field json.RawMessage, change func(e *envelope, p *payload)) json.RawMessage {
		var e envelope
		var p payload
		if err := errors.Join(json.Unmarshal(field, &e), json.Unmarshal(e.Payload, &p)); err != nil {
			t.Fatal(err)
		}
		change(&e, &p)
		b, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	resign := func(by PrivateKey, change func(p *payload)) func(e *envelope, p *payload) {
		return func(e *envelope, p *payload) {
			change(p)
			b, err := json.Marshal(p)
			if err != nil {
				t.Fatal(err)
			}
			*e = envelope{b, by.Public().ID(), ed25519.Sign(by.key, signed(b))}
		}
	}
	for name, c := range map[string]struct {
		field string
		want  string
	}{
		"rubbish":       {`42`, "unreadable signature"},
		"nothing":       {``, "unreadable signature"},
		"null":          {`null`, `signed by the key ""`},
		"deep":          {strings.Repeat("[", 100000), "unreadable signature"},
		"deep in field": {`{"payload":` + strings.Repeat(`{"a":`, 20000), "unreadable signature"},
		"unknown field": {`{"payload":"","key":"","signature":"","run":"this"}`, "unknown field"},
		"two values":    {string(plainField) + "{}", "something follows it"},
		"stranger":      {string(sign(t, stranger, order(), nil)), "not in trusted_keys"},
		"stranger's signature under a trusted name": {string(forge(plainField, func(e *envelope, _ *payload) {
			e.Signature = ed25519.Sign(stranger.key, signed(e.Payload))
		})), "forged"},
		"no signature": {string(forge(plainField, func(e *envelope, _ *payload) { e.Signature = nil })), "forged"},
		"other words": {string(forge(plainField, func(e *envelope, _ *payload) {
			e.Payload = []byte(strings.Replace(string(e.Payload), "docker", "reboot", 1))
		})), "forged"},
		"signed for another purpose": {string(forge(plainField, func(e *envelope, _ *payload) {
			e.Signature = ed25519.Sign(k.key, e.Payload)
		})), "forged"},
		"another node": {string(forge(plainField, resign(k, func(p *payload) { p.Node = "web2" }))), `signed for node "web2", this is web1`},
		"no id":        {string(forge(plainField, resign(k, func(p *payload) { p.ID = "" }))), "no id"},
		"for ever":     {string(forge(plainField, resign(k, func(p *payload) { p.Expires += int64(48 * time.Hour / time.Millisecond) }))), "24h0m0s is the most"},
		"never":        {string(forge(plainField, resign(k, func(p *payload) { p.Expires = 0 }))), "expires before"},
		"overflow":     {string(forge(plainField, resign(k, func(p *payload) { p.Issued, p.Expires = -1<<63, 1<<63-1 }))), "command signed by"},
		"another form": {string(forge(plainField, resign(k, func(p *payload) { p.Version = 2 }))), "form 2"},
		"from the future": {string(sign(t, k, func() Order {
			o := order()
			o.Issued, o.Expires = now.Add(Skew+time.Second), now.Add(time.Hour)
			return o
		}(), nil)), "ahead of this node's clock"},
		"sealed for another":           {string(sign(t, k, order(), other.Public())), "not sealed for this node"},
		"sealed part in another order": {string(forge(sealedField, resign(k, func(p *payload) { p.ID = "C2" }))), "not sealed for this node"},
	} {
		o, err := ringOf(t, k).Verify(json.RawMessage(c.field), "web1", now, own)
		if err == nil || !strings.Contains(err.Error(), c.want) || o.ID != "" {
			t.Errorf("%s: order %+v, error %v, want %q", name, o, err, c.want)
		}
		if err != nil && len(err.Error()) > 300 {
			t.Errorf("%s: an error of %d bytes", name, len(err.Error()))
		}
	}
	// A trusted colleague can't pass sealed arguments on as his own.
	both := ringOf(t, k, stranger)
	if _, err := both.Verify(forge(sealedField, resign(stranger, func(*payload) {})), "web1", now, own); err == nil {
		t.Error("sealed arguments signed anew were opened")
	}
	if _, err := (Ring{}).Verify(plainField, "web1", now, nil); err == nil || !strings.Contains(err.Error(), "trusts no key") {
		t.Errorf("no key trusted: %v", err)
	}
	if _, err := ringOf(t, k).Verify(sealedField, "web1", now, nil); err == nil || !strings.Contains(err.Error(), "state_dir") {
		t.Errorf("sealed for a node without a key: %v", err)
	}
}

func TestExpiredIsNamed(t *testing.T) {
	k := newKey(t, "ann")
	o, err := ringOf(t, k).Verify(sign(t, k, order(), nil), "web1", now.Add(5*time.Minute), nil)
	if !errors.Is(err, ErrExpired) || o.ID != "C1" {
		t.Errorf("order %+v, error %v", o, err)
	}
}

func TestSignRefusesWhatNoNodeRuns(t *testing.T) {
	k := newKey(t, "ann")
	for name, change := range map[string]func(*Order){
		"no node":    func(o *Order) { o.Node = "" },
		"no times":   func(o *Order) { o.Expires = time.Time{} },
		"too long":   func(o *Order) { o.Expires = now.Add(LifeMost + time.Second) },
		"backwards":  func(o *Order) { o.Expires = now.Add(-time.Second) },
		"not JSON":   func(o *Order) { o.Args = map[string]any{"f": func() {}} },
		"not a time": func(o *Order) { o.Issued = time.Time{} },
	} {
		o := order()
		change(&o)
		if field, err := k.Sign(o, nil); err == nil {
			t.Errorf("%s: signed %s", name, field)
		}
	}
}

func TestPrivateKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	k := newKey(t, "ann@desk\x1b[2J\n two")
	if err := k.Write(path); err != nil {
		t.Fatal(err)
	}
	if err := k.Write(path); !errors.Is(err, os.ErrExist) {
		t.Errorf("a key written over another: %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	again, err := ReadPrivateKey(path)
	if err != nil || again.Public().String() != k.Public().String() || again.Public().Comment != "ann@desk[2J two" {
		t.Errorf("read %q, %v; wrote %q", again.Public(), err, k.Public())
	}
	secret, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	seed := strings.Fields(string(secret))[1]
	for _, shown := range []string{fmt.Sprint(k), fmt.Sprintf("%+v %#v %s %q", k, k, k, &k), fmt.Sprint(struct{ K PrivateKey }{k})} {
		if strings.Contains(shown, seed) || strings.Contains(shown, fmt.Sprint([]byte(k.key)[:4])) {
			t.Errorf("the key is shown: %s", shown)
		}
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadPrivateKey(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a key that others can read: %v", err)
	}
	public := filepath.Join(t.TempDir(), "key.pub")
	if err := os.WriteFile(public, []byte(k.Public().String()), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, wrong := range []string{public, t.TempDir(), filepath.Join(t.TempDir(), "none")} {
		if _, err := ReadPrivateKey(wrong); err == nil {
			t.Errorf("%s is no private key", wrong)
		}
	}
}

func TestRing(t *testing.T) {
	a, b := newKey(t, "a"), newKey(t, "b")
	file := filepath.Join(t.TempDir(), "keys")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("# operators\n\n" + b.Public().String() + "\n")
	r, err := NewRing([]string{a.Public().String(), "@" + file})
	if err != nil || r.Len() != 2 {
		t.Fatalf("%d keys of %v, %v", r.Len(), maps.Collect(maps.All(r.keys)), err)
	}
	write("# operators\nbazbeans-ed25519 AAAA\nssh-ed25519 AAAA\n")
	_, err = NewRing([]string{"@" + file, "@" + file + ".none", "x"})
	for _, want := range []string{file + ":2: public key: its length is wrong", file + ":3: ", "no such file", `does not begin with "bazbeans-ed25519"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q in it", err, want)
		}
	}
}

func TestOwnKey(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "seal.key")
	k, err := OwnKey(path)
	if err != nil {
		t.Fatal(err)
	}
	again, err := OwnKey(path)
	if err != nil || again.Public().String() != k.Public().String() {
		t.Errorf("read %v, %v; made %v", again, err, k.Public())
	}
	pub, err := ParseSealKey(k.Public().String())
	if err != nil || pub.Fingerprint() != k.Public().Fingerprint() {
		t.Errorf("parsed %v, %v", pub, err)
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("left behind: %v", files)
	}
	for _, wrong := range []string{"", "bazbeans-x25519", "bazbeans-x25519 AAAA", "bazbeans-ed25519 " + strings.Repeat("A", 43) + "=", "bazbeans-x25519 *"} {
		if _, err := ParseSealKey(wrong); err == nil {
			t.Errorf("%q is no seal key", wrong)
		}
	}
	if err := os.WriteFile(path, []byte("half a"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OwnKey(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a damaged key: %v", err)
	}
}
