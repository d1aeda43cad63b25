package resolvers

import (
	"fmt"
	"strings"
	"testing"
)

func TestStatic(t *testing.T) {
	s, err := NewStatic(map[string]string{"a": "10.0.0.1", "b": "[fd00::1]:81", "c": "10.0.0.3:80"})
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Resolve(t.Context(), nodes("a", "b", "d"))
	if err != nil || fmt.Sprint(got) != "map[a:{{10.0.0.1 0 0} <nil>} b:{{fd00::1 81 0} <nil>}]" {
		t.Errorf("%v, %v", got, err)
	}
	_, err = NewStatic(map[string]string{"ok": "10.0.0.1", "x": "localhost", "y": "10.0.0.1:0", "bad id": "10.0.0.2"})
	for _, want := range []string{`"x"`, `"y"`, `"bad id"`} {
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), `"ok"`) {
			t.Errorf("error does not name %s: %v", want, err)
		}
	}
}
