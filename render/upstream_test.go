package render_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/render"
)

func TestUpstreamValidate(t *testing.T) {
	backup := netip.MustParseAddrPort("10.9.0.1:80")
	for name, c := range map[string]struct {
		change func(*render.Upstream)
		want   string // part of the error, "" for none
	}{
		"as it is":             {func(u *render.Upstream) {}, ""},
		"own template":         {func(u *render.Upstream) { u.Template = "mine.conf.tmpl" }, ""},
		"fallback":             {func(u *render.Upstream) { u.Fallback = []netip.AddrPort{backup} }, ""},
		"no name":              {func(u *render.Upstream) { u.Name = "" }, "upstream name"},
		"name with a blank":    {func(u *render.Upstream) { u.Name = "a b" }, "upstream name"},
		"name with a newline":  {func(u *render.Upstream) { u.Name = "a\n" }, "upstream name"},
		"long name":            {func(u *render.Upstream) { u.Name = strings.Repeat("a", 129) }, "upstream name"},
		"template elsewhere":   {func(u *render.Upstream) { u.Template = "../x.tmpl" }, "not a file name"},
		"template hidden":      {func(u *render.Upstream) { u.Template = ".x.tmpl" }, "not a file name"},
		"template of no kind":  {func(u *render.Upstream) { u.Template = "x.conf" }, "not a file name"},
		"keepalive below zero": {func(u *render.Upstream) { u.Keepalive = -1 }, "keepalive -1"},
		"max_fails too large":  {func(u *render.Upstream) { u.Server.MaxFails = 1e7 }, "max_fails 10000000"},
		"max_conns below zero": {func(u *render.Upstream) { u.Server.MaxConns = -1 }, "max_conns -1"},
		"fail_timeout not s":   {func(u *render.Upstream) { u.Server.FailTimeout = 1500 * time.Millisecond }, "fail_timeout 1.5s"},
		"fail_timeout below 0": {func(u *render.Upstream) { u.Server.FailTimeout = -time.Second }, "fail_timeout -1s"},
		"fail_timeout a week":  {func(u *render.Upstream) { u.Server.FailTimeout = 168 * time.Hour }, "fail_timeout 168h"},
		"fallback with hash": {func(u *render.Upstream) {
			*u = upstream(t, "hash $uri")
			u.Fallback = []netip.AddrPort{backup}
		}, "with hash $uri"},
		"fallback with random": {func(u *render.Upstream) {
			*u = upstream(t, "random two")
			u.Fallback = []netip.AddrPort{backup}
		}, "with random two"},
		"fallback nowhere":      {func(u *render.Upstream) { u.Fallback = []netip.AddrPort{{}} }, "fallback address"},
		"fallback without port": {func(u *render.Upstream) { u.Fallback = []netip.AddrPort{netip.AddrPortFrom(backup.Addr(), 0)} }, "fallback address"},
	} {
		u := upstream(t, "least_conn")
		c.change(&u)
		err := u.Validate()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
