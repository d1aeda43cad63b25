package trust

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"
)

// fixed is the same key in each run, so that the corpus stays one.
func fixed() PrivateKey {
	return PrivateKey{ed25519.NewKeyFromSeed([]byte("a seed of thirty-two bytes, fine")), "ann"}
}

// Whatever an envelope looks like, what passes are the words that were signed.
func FuzzVerify(f *testing.F) {
	k := fixed()
	good, err := k.Sign(order(), nil)
	if err != nil {
		f.Fatal(err)
	}
	ring, err := NewRing([]string{k.Public().String()})
	if err != nil {
		f.Fatal(err)
	}
	want, err := ring.Verify(good, "web1", now, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(good))
	f.Fuzz(func(t *testing.T, field []byte) {
		o, err := ring.Verify(field, "web1", now, nil)
		if err == nil && fmt.Sprint(o) != fmt.Sprint(want) {
			t.Errorf("verified %s: %+v", field, o)
		}
		if err != nil && len(err.Error()) > 1000 {
			t.Errorf("an error of %d bytes", len(err.Error()))
		}
	})
}

// What a trusted key signed may still be anything: it is judged, and never more than refused.
func FuzzPayload(f *testing.F) {
	k := fixed()
	ring, err := NewRing([]string{k.Public().String()})
	if err != nil {
		f.Fatal(err)
	}
	own, err := OwnKey(filepath.Join(f.TempDir(), "seal.key"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(`{"v":1,"node":"web1","id":"C1","type":"exec","by":"ann","issued_ms":1772366400000,"expires_ms":1772366700000,"args":{"argv":["ls"]}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		field, err := json.Marshal(envelope{text, k.Public().ID(), ed25519.Sign(k.key, signed(text))})
		if err != nil {
			t.Fatal(err)
		}
		o, err := ring.Verify(field, "web1", now, own)
		if err == nil && (o.Node != "web1" || o.ID == "" || o.Type == "" || !now.Before(o.Expires) || o.Issued.Sub(now) > Skew || o.Expires.Sub(o.Issued) > LifeMost) {
			t.Errorf("verified %s: %+v", text, o)
		}
	})
}
