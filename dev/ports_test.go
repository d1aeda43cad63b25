package dev

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
)

func TestUsualPortsThatAreTaken(t *testing.T) {
	// Whoever has 8080, we or another program: it is taken now.
	if ln, err := net.Listen("tcp", "127.0.0.1:8080"); err == nil {
		defer ln.Close()
	}
	o := Options{UsualPorts: true}
	moved, err := o.claim()
	if err != nil {
		t.Fatal(err)
	}
	if o.HTTPPort <= 8080 || o.HTTPPort > 8180 {
		t.Errorf("http port %d is not one of those after 8080", o.HTTPPort)
	}
	if want := fmt.Sprintf("port 8080 is taken: Nginx is on %d", o.HTTPPort); !slices.Contains(moved, want) {
		t.Errorf("%q does not say %q", moved, want)
	}
	for _, p := range o.ports() {
		if said := strings.Contains(strings.Join(moved, "\n"), p.what); said == (*p.to == p.usual) {
			t.Errorf("%s %d, where %d is usual: %q", p.what, *p.to, p.usual, moved)
		}
	}
}

func TestPortsThatAreAskedFor(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	taken := ln.Addr().(*net.TCPAddr).Port
	o := Options{RedisPort: taken, HTTPPort: taken, UsualPorts: true}
	_, err = o.claim()
	for _, flag := range []string{"--redis-port", "--http-port"} {
		if want := fmt.Sprintf("%s %d", flag, taken); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %q", err, want)
		}
	}
	if o.RedisPort != taken {
		t.Errorf("port %d in the place of the one asked for", o.RedisPort)
	}
}
