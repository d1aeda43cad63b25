package resolvers_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/pool"
	"github.com/bazbeans/bazbeans/resolvers"
)

// A name server that is silent, a program that hangs and a service that floods, all before the one link that works:
// a look is not late by more than Timeout, addresses last known stay, and it is told which links are in trouble.
func TestBrokenLinksDelayNoLook(t *testing.T) {
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	flood := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for line := []byte(strings.Repeat("10.0.0.1\n", 1000)); ; {
			if _, err := w.Write(line); err != nil {
				return
			}
		}
	}))
	defer flood.Close()
	name, err := resolvers.NewDNS(resolvers.DNSOptions{Servers: []string{silent.LocalAddr().String()}})
	if err != nil {
		t.Fatal(err)
	}
	program, err := resolvers.NewCallback(resolvers.CallbackOptions{Exec: []string{"/bin/sh", "-c", "sleep 60"}, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	service, err := resolvers.NewCallback(resolvers.CallbackOptions{URL: flood.URL + "/{node_id}"})
	if err != nil {
		t.Fatal(err)
	}
	static, err := resolvers.NewStatic(map[string]string{"a": "10.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	chain, err := resolvers.NewChain(resolvers.Door{}, resolvers.Link{Name: "dns", Resolver: name}, resolvers.Link{Name: "program", Resolver: program},
		resolvers.Link{Name: "service", Resolver: service}, resolvers.Link{Name: "static", Resolver: static})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := chain.Close(); err != nil {
			t.Error(err)
		}
	}()
	chain.Recall(map[string]resolvers.Endpoint{"b": at("10.0.0.2")})
	deadline := time.Now().Add(time.Minute)
	for looks := 0; looks < 3; {
		began := time.Now()
		found, err := chain.Resolve(t.Context(), []pool.Node{{ID: "a"}, {ID: "b"}, {ID: "c"}})
		// The contract's second; the rest is for a machine with other things to do, and less than the minute of the program.
		if took := time.Since(began); took > resolvers.Timeout+10*time.Second {
			t.Errorf("a look took %s", took)
		}
		if err != nil && strings.Contains(err.Error(), "static: it") && time.Now().Before(deadline) {
			continue // the machine stood still in its part of the second
		}
		looks++
		if a := found["a"]; a.Link != "static" || a.Stale {
			t.Errorf("a: %+v", a)
		}
		if b := found["b"]; b.Addr.String() != "10.0.0.2" || !b.Stale || b.Err == nil {
			t.Errorf("b: %+v", b)
		}
		if found["c"].Found() || found["c"].Err == nil {
			t.Errorf("c: %+v", found["c"])
		}
		for _, link := range []string{"dns: a: ", "program: a: ", "service: a: "} {
			if err == nil || !strings.Contains(err.Error(), link) {
				t.Errorf("%q is not told of: %v", link, err)
			}
		}
	}
}
