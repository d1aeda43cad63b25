package names

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
)

// The last labels of every name that a Zone answers for; .internal is set aside for private use (ICANN, 2024).
const domain = "bazbeans.internal"

// service is the word of the SRV question: _lbd._tcp.NAME.
const service = "lbd"

// Directives returns the lines that an upstream block needs beside its `server` line and `zone`, each with its
// semicolon. They stand before a `keepalive` line.
//
// Without `valid=` Nginx goes by our TTL of 0 and looks again one second after each answer; with `valid=1s`, the
// shortest there is, it would be two (ngx_http_upstream_zone_resolve_handler). An answer that is lost is asked for
// again after resolver_timeout, twice. Without IPv6 peers half the questions for addresses are saved: the upstream needs
// another directive, and so a reload, when the first one comes. keepalive_timeout is short, because an idle connection to a node that is gone
// can't be told from a request under way; Nginx keeps some by default from 1.29.7 on.
func Directives(zone netip.AddrPort, ipv6 bool) []string {
	resolver := "resolver " + zone.String()
	if !ipv6 {
		resolver += " ipv6=off"
	}
	return []string{
		resolver + ";",
		"resolver_timeout 2s;",
		"keepalive_timeout 2s;",
	}
}

// Server returns the address and the parameters of an upstream's only `server` line. Weights, ports and backups come
// with the answers; max_fails, fail_timeout and max_conns are the same for all peers and are added by the caller. A
// `weight` there would override all others.
func Server(upstream string) string {
	return host(upstream) + " service=" + service + " resolve"
}

var plainLabel = regexp.MustCompile(`\A[a-z0-9_][a-z0-9_-]{0,62}\z`)

// host is the name that stands for an upstream. DNS does not tell "App" from "app", and bounds a label to 63 bytes:
// names that would suffer become a digest.
func host(upstream string) string {
	if !plainLabel.MatchString(upstream) {
		sum := sha256.Sum256([]byte(upstream))
		upstream = "x-" + hex.EncodeToString(sum[:16])
	}
	return upstream + "." + domain
}

// ErrUnsupported is wrapped by what [Supported] and [SupportedBalance] return.
var ErrUnsupported = errors.New("not supported by live resolve")

// Supported tells whether this version of free Nginx ("1.30.6", "nginx/1.30.6") follows DNS in an upstream. Before
// 1.27.3 only the commercial one did.
func Supported(version string) error {
	number, _, _ := strings.Cut(strings.TrimPrefix(version, "nginx/"), " ")
	var parts []int
	for part := range strings.SplitSeq(number, ".") {
		n, err := strconv.Atoi(part)
		if err != nil || n < 0 {
			return fmt.Errorf("nginx version %.40q: %w: it is no number like 1.30.6", version, ErrUnsupported)
		}
		parts = append(parts, n)
	}
	for i, least := range []int{1, 27, 3} {
		switch {
		case i == len(parts) || parts[i] < least:
			return fmt.Errorf("nginx %.40s: %w: `resolve` in an upstream is free from 1.27.3 on", number, ErrUnsupported)
		case parts[i] > least:
			return nil
		}
	}
	return nil
}

// SupportedBalance tells whether a balance method ("", "least_conn", "hash $request_uri consistent") means the same
// with names as with `server` lines. With ip_hash and with plain hash a client's peer depends on the order of the
// peers, and Nginx keeps those it learns from DNS in the order in which they came.
func SupportedBalance(method string) error {
	words := strings.Fields(method)
	switch {
	case len(words) == 0:
		return nil
	case words[0] == "ip_hash", words[0] == "hash" && words[len(words)-1] != "consistent":
		return fmt.Errorf("balance %.80q: %w: a client's node would depend on the order in which nodes came; use `hash … consistent`", method, ErrUnsupported)
	}
	return nil
}
