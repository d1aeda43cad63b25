package render

import (
	"fmt"
	"net/netip"
	"regexp"
	"time"

	"github.com/bazbeans/bazbeans/templates"
)

// Upstream is one entry of the config's `upstreams:` as far as rendering goes.
type Upstream struct {
	Name      string  // of the upstream block and its zone
	Template  string  // a file name like upstream.conf.tmpl; "": templates.Default
	Balance   Balance // the zero value is round_robin
	Keepalive int     // idle connections kept by each worker; 0: no line
	Server    ServerParams
	Fallback  []netip.AddrPort // backup servers, in this order

	// Live makes the view one of a live engine, see View.Live; nil: servers change by reloads alone.
	Live func(*View)
}

// ServerParams are what every node's `server` line gets. A zero MaxFails and MaxConns mean what they mean to Nginx:
// no marking as failed, no limit.
type ServerParams struct {
	MaxFails    int           // Nginx's own default is 1
	FailTimeout time.Duration // whole seconds; Nginx's own default is 10s
	MaxConns    int           // per worker only in an upstream without a zone
}

// The largest values that are believed: far above any sensible one, far below what overflows in Nginx.
const (
	maxCount       = 1_000_000
	maxFailTimeout = 24 * time.Hour
)

var (
	nameRule     = regexp.MustCompile(`\A[A-Za-z0-9_][A-Za-z0-9._-]{0,127}\z`)
	templateRule = regexp.MustCompile(`\A[A-Za-z0-9_][A-Za-z0-9._-]{0,127}\.tmpl\z`)
)

// Validate returns an error that says what in u cannot be rendered.
func (u Upstream) Validate() error {
	if !nameRule.MatchString(u.Name) {
		return fmt.Errorf("upstream name %.80q is not allowed: use 1 to 128 of A-Z a-z 0-9 . _ -, not beginning with . or -", u.Name)
	}
	if u.Template != "" && !templateRule.MatchString(u.Template) {
		return fmt.Errorf("upstream %s: template %.80q is not a file name like %s", u.Name, u.Template, templates.Default)
	}
	for _, n := range []struct {
		what  string
		value int
	}{{"keepalive", u.Keepalive}, {"max_fails", u.Server.MaxFails}, {"max_conns", u.Server.MaxConns}} {
		if n.value < 0 || n.value > maxCount {
			return fmt.Errorf("upstream %s: %s %d is not a number from 0 to %d", u.Name, n.what, n.value, maxCount)
		}
	}
	if t := u.Server.FailTimeout; t < 0 || t > maxFailTimeout || t%time.Second != 0 {
		return fmt.Errorf("upstream %s: fail_timeout %s is not in whole seconds from 0s to %s", u.Name, t, maxFailTimeout)
	}
	if len(u.Fallback) > 0 && !u.Balance.AllowsBackup() {
		return fmt.Errorf("upstream %s: fallback needs backup servers, which Nginx does not allow with %s", u.Name, u.Balance)
	}
	for _, addr := range u.Fallback {
		if err := checkAddr(addr); err != nil {
			return fmt.Errorf("upstream %s: fallback %w", u.Name, err)
		}
	}
	return nil
}
