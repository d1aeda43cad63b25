package main

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
)

// TestHAProxyFollowsThePool has a node frozen before, and one while the program beside HAProxy listens.
func TestHAProxyFollowsThePool(t *testing.T) {
	s := newSite(t)
	early := func(ctx context.Context, s *site, name string) (front, contender, error) {
		p, err := s.fleet(ctx, name)
		if err != nil {
			return nil, nil, err
		}
		if err := freeze(ctx, p, "n1"); err != nil {
			return nil, nil, err
		}
		return startHAProxy("haproxy")(ctx, s, name)
	}
	l, err := newLane(t.Context(), s, plan{name: "haproxy", start: early}, 100)
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(s.dir, "haproxy", "stats.sock")
	want := func(n1, n2 string) {
		t.Helper()
		var got string
		err := await(t.Context(), func() error {
			said, err := tell(socket, "show stat")
			got = statuses(said)
			if err == nil && got != n1+" "+n2 {
				err = context.DeadlineExceeded
			}
			return err
		})
		if err != nil {
			t.Fatalf("servers are %q, want %s %s; the program says:\n%s", got, n1, n2, l.daemon().tail())
		}
	}
	want("DRAIN", "no check") // registering again does not lift an operator's freeze
	if err := l.unfreeze(t.Context(), "n1"); err != nil {
		t.Fatal(err)
	}
	want("no check", "no check")
	if err := l.freeze(t.Context(), "n2"); err != nil {
		t.Fatal(err)
	}
	want("no check", "DRAIN")
	if err := setState(socket, "n9", "drain"); err == nil || !strings.Contains(err.Error(), "No such server") {
		t.Errorf("a server that is not there: %v", err)
	}
}

// statuses of n1 and n2 in HAProxy's CSV.
func statuses(csv string) string {
	var found []string
	for line := range strings.Lines(csv) {
		if fields := strings.Split(line, ","); len(fields) > 17 && fields[0] == "app_backend" && strings.HasPrefix(fields[1], "n") {
			found = append(found, fields[17])
		}
	}
	return strings.Join(found, " ")
}
