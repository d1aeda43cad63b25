package resolvers

import (
	"errors"
	"testing"
)

// holds checks what was read of a callback's words: of nodes that were asked about only, and each either an address
// or refused.
func holds(t *testing.T, said *saidBy) {
	t.Helper()
	for id, a := range said.answers {
		if !said.asked[id] {
			t.Fatalf("%q was not asked about", id)
		}
		if a.Err == nil && !a.Addr.IsValid() || a.Err != nil && !IsRefused(a.Err) {
			t.Fatalf("%q: %+v", id, a)
		}
	}
}

func FuzzCallbackLines(f *testing.F) {
	for _, text := range []string{
		"a 10.0.0.1\nb [fd00::1]:80\n", "a 10.0.0.1\na 10.0.0.2\n", "a\n#b 10.0.0.1\n\n c  d  e", "a 10.0.0.1:0\r\nb unix:/x\r\n", "a\u00a010.0.0.1", "\x00 \xff",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		said := newSaidBy([]string{"a", "b"})
		said.lines(text)
		holds(t, said)
		if e, err := oneAnswer(text); (err == nil) != e.Addr.IsValid() || err != nil && !errors.Is(err, ErrNotMine) && !IsRefused(err) {
			t.Fatalf("%+v, %v", e, err)
		}
	})
}

func FuzzCallbackJSON(f *testing.F) {
	for _, text := range []string{
		`{"a": "10.0.0.1", "b": null}`, `{"a": "10.0.0.1:80", "a": "10.0.0.2"}`, `{"a": {"b": []}, "c": 1e999}`, `{"a"`, `[]`, `{} {}`, `{"a": "\u0000"}`, "{\"\xff\": 1}",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		said := newSaidBy([]string{"a", "b"})
		_ = said.object(text) // what it read before something broken is dropped by its caller
		holds(t, said)
	})
}
