package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// This very test's binary is made of modules that we know.
func TestBill(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOURCE_DATE_EPOCH", "1700000000")
	var first, second bytes.Buffer
	if err := printBill(&first, self, "1.2.0"); err != nil {
		t.Fatal(err)
	}
	if err := printBill(&second, self, "1.2.0"); err != nil || first.String() != second.String() {
		t.Errorf("the second bill is not the same: %v", err)
	}
	var bill struct {
		Metadata   struct{ Timestamp string }
		Components []struct {
			Name, Purl string
			Licenses   []struct{ License struct{ ID string } }
		}
	}
	if err := json.Unmarshal(first.Bytes(), &bill); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, c := range bill.Components {
		got[c.Name] = c.Licenses[0].License.ID
		if !strings.HasPrefix(c.Purl, "pkg:golang/"+c.Name+"@") {
			t.Errorf("%s is %s", c.Name, c.Purl)
		}
	}
	if bill.Metadata.Timestamp != "2023-11-14T22:13:20Z" || got["stdlib"] != "BSD-3-Clause" || got["github.com/CycloneDX/cyclonedx-go"] != "Apache-2.0" {
		t.Errorf("%s %v", bill.Metadata.Timestamp, got)
	}
	var texts bytes.Buffer
	if err := printLicences(&texts, []string{self, self}); err != nil || strings.Count(texts.String(), "\ngithub.com/CycloneDX/cyclonedx-go ") > 1 ||
		!strings.Contains(texts.String(), "github.com/CycloneDX/cyclonedx-go v") {
		t.Errorf("%v %.200s", err, texts.String())
	}
}

func TestLicence(t *testing.T) {
	for text, want := range map[string]string{
		"Permission is hereby\n   granted, free of charge, to any": "MIT",
		"Redistributions in binary form must reproduce":            "BSD-2-Clause",
		"All rights reserved.":                                     "",
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "LICENSE.md"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if id, _, err := licence(dir); id != want || (err == nil) != (want != "") {
			t.Errorf("%q is %q: %v", text, id, err)
		}
	}
	if err := printBill(new(bytes.Buffer), "main.go", "1"); err == nil {
		t.Error("a bill of what is no binary")
	}
}
