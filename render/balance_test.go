package render_test

import (
	"strings"
	"testing"

	"github.com/bazbeans/bazbeans/render"
)

func TestParseBalance(t *testing.T) {
	for in, want := range map[string]struct {
		text           string
		places, backup bool
	}{
		"":                                   {"round_robin", false, true},
		"round_robin":                        {"round_robin", false, true},
		" least_conn ":                       {"least_conn", false, true},
		"random":                             {"random", false, false},
		"random two":                         {"random two", false, false},
		"random  two\tleast_conn":            {"random two least_conn", false, false},
		"ip_hash":                            {"ip_hash", true, false},
		"hash $request_uri":                  {"hash $request_uri", true, false},
		"hash $host:$arg_id-x/@ consistent":  {"hash $host:$arg_id-x/@ consistent", true, false},
		"hash $remote_addr$cookie_session_1": {"hash $remote_addr$cookie_session_1", true, false},
	} {
		b, err := render.ParseBalance(in)
		if err != nil || b.String() != want.text || b.KeepsPlaces() != want.places || b.AllowsBackup() != want.backup {
			t.Errorf("ParseBalance(%q) = %q places %v backup %v, %v; want %+v", in, b, b.KeepsPlaces(), b.AllowsBackup(), err, want)
		}
	}
}

func TestParseBalanceRefuses(t *testing.T) {
	for _, in := range []string{
		"rr", "LEAST_CONN", "least_conn;", "random three", "random two least_time", "ip_hash x", "hash", "hash constant",
		"hash $", "hash $1", "hash ${uri}", "hash $uri; server 6.6.6.6", "hash $uri;", "hash $uri{", "hash $uri#", `hash "$uri"`,
		"hash $uri consistent x", "hash $uri sticky", "hash $uri\\", "hash $ü", "hash $" + strings.Repeat("a.", 200),
	} {
		if b, err := render.ParseBalance(in); err == nil {
			t.Errorf("ParseBalance(%q) = %q, want an error", in, b)
		} else if !strings.Contains(err.Error(), "balance ") {
			t.Errorf("ParseBalance(%q): %v does not name the value", in, err)
		}
	}
}

func TestBalanceInConfigFiles(t *testing.T) {
	var b render.Balance
	if err := b.UnmarshalText([]byte("random two")); err != nil || b.String() != "random two" {
		t.Errorf("UnmarshalText: %q, %v", b, err)
	}
	if text, err := b.MarshalText(); err != nil || string(text) != "random two" {
		t.Errorf("MarshalText: %q, %v", text, err)
	}
	if err := b.UnmarshalText([]byte("fair")); err == nil {
		t.Error("UnmarshalText took an unknown balance")
	}
}
