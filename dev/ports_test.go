package dev

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
)

// claimed returns a site that holds its ports until the test ends, and what claiming came to.
func claimed(t *testing.T, opts Options) (*Site, error) {
	t.Helper()
	s, err := NewSite(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.release("") })
	return s, s.claim()
}

func TestUsualPortsThatAreTaken(t *testing.T) {
	// Whoever has 8080, we or another program: it is taken now.
	if ln, err := net.Listen("tcp", "127.0.0.1:8080"); err == nil {
		defer ln.Close()
	}
	s, err := claimed(t, Options{UsualPorts: true})
	if err != nil {
		t.Fatal(err)
	}
	if s.opts.HTTPPort <= 8080 || s.opts.HTTPPort > 8180 {
		t.Errorf("http port %d is not one of those after 8080", s.opts.HTTPPort)
	}
	if want := fmt.Sprintf("port 8080 is taken: Nginx is on %d", s.opts.HTTPPort); !slices.Contains(s.moved, want) {
		t.Errorf("%q does not say %q", s.moved, want)
	}
	for _, p := range s.ports {
		if said := strings.Contains(strings.Join(s.moved, "\n"), p.what); said == (*p.to == p.usual) {
			t.Errorf("%s %d, where %d is usual: %q", p.what, *p.to, p.usual, s.moved)
		}
	}

	second, err := claimed(t, Options{UsualPorts: true})
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range second.ports {
		if *p.to == *s.ports[i].to {
			t.Errorf("two sites have %s %d", p.flag, *p.to)
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
	last, err := net.Listen("tcp", "127.0.1.3:0")
	if err != nil {
		t.Fatal(err)
	}
	defer last.Close()
	ofNode := last.Addr().(*net.TCPAddr).Port
	s, err := claimed(t, Options{RedisPort: taken, HTTPPort: taken, NodePort: ofNode, UsualPorts: true})
	for _, want := range []string{fmt.Sprintf("--redis-port %d", taken), fmt.Sprintf("--http-port %d", taken), fmt.Sprintf("--node-port %d", ofNode)} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %q", err, want)
		}
	}
	if s.opts.RedisPort != taken {
		t.Errorf("port %d in the place of the one asked for", s.opts.RedisPort)
	}
}
