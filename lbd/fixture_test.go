package lbd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFixture(t *testing.T) {
	file := filepath.Join(t.TempDir(), "nodes.yaml")
	for text, want := range map[string]string{
		"":                             "",
		"nodes: []":                    "",
		"- {id: a, address: 10.0.0.1}": "a",
		`{"id": "lb1", "rev": 5, "nodes": [{"id": "b", "address": "10.0.0.2", "port": 81, "weight": 2, "data_center": "dc1", "labels": null, "resolver": "redis", "state": "active", "held": true}]}`: "b",
		"nodes: [{id: a, adress: 10.0.0.1}]":                 "adress: unknown key",
		"nodes: [{id: 'a b', address: 10.0.0.1}]":            `"a b" is not allowed`,
		"nodes: [{id: a, address: localhost}]":               `"localhost" is not an IP address`,
		"nodes: [{id: a, address: 1.2.3.4, port: 0x}]":       "uint16",
		"nodes: [{id: a, address: 1.2.3.4, weight: -1}]":     "weight -1",
		"nodes: [{id: a, address: 1.2.3.4, state: happy}]":   `state "happy"`,
		"- {id: a, address: 10.0.0.1}\n- {id: b}\n- {id: -}": "nodes.yaml:3: nodes[2]",
		"hosts: []": "no key nodes",
		"[":         "nodes.yaml",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := ReadFixture(file)
		switch {
		case len(want) > 1:
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want … %s …", text, err, want)
			}
		case err != nil:
			t.Errorf("%s: %v", text, err)
		case want == "" && len(f.nodes) != 0 || want != "" && (len(f.nodes) != 1 || f.nodes[0].ID != want || !f.nodes[0].wanted()):
			t.Errorf("%s: %+v", text, f.nodes)
		}
	}
}
