package dev

import (
	"testing"
	"time"
)

func TestX(t *testing.T) {
	s, err := NewSite(Options{})
	if err != nil {
		t.Fatal(err)
	}
	b := time.Now()
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Log(time.Since(b))
	b = time.Now()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	t.Log(time.Since(b))
}
