// Package render turns an upstream and its servers into the text of an Nginx configuration: view + template → bytes,
// in memory. It is pure: the same view gives the same bytes, whatever the time, the host or the order of the servers.
//
// Two walls keep data from becoming configuration. A View takes only typed, checked values and Text, which always
// prints harmless; and what a template wrote is read again by Nginx's own token rules (Check) and refused unless it
// holds exactly the servers that were meant.
//
// The package does not decide who is in the pool, does not write files, does not watch the templates folder, and
// does not run nginx. Templates are trusted: whoever can write them can configure Nginx.
package render

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bazbeans/bazbeans/step"
	"github.com/bazbeans/bazbeans/templates"
)

// Placeholder is the server that stands in an upstream without one that can be used, marked `down`: Nginx refuses an
// upstream block without any.
const Placeholder = "127.0.0.1:9"

// View is what a template sees: its fields, and those of Line, are the names that template authors use. They are
// explained for authors in docs/templates.md. Only NewView makes one that can be rendered.
type View struct {
	Name        string // of the upstream
	Balance     string // the directive without its ";"; "" for round_robin
	Keepalive   int    // 0: none wanted
	ZoneSize    string // like 256k: enough for Servers in one zone
	MaxFails    int
	FailTimeout string // like 10s
	MaxConns    int    // 0: no limit
	Servers     []Line // all lines of the upstream, in order: the nodes, the placeholder, the fallbacks
	Nodes       []Line // the nodes among them
	Placeholder bool   // no node can be used, so Servers has the placeholder

	// Live is what a live engine needs in the upstream block, before Keepalive: directives and comments. "" where servers
	// change by reloads alone. A template that leaves it out, or writes server lines of its own, can't be used live.
	Live string

	template string
}

// Line is one `server` line of the upstream.
type Line struct {
	Addr       string // 10.0.1.10:8000 or [fd00::10]:8000
	Host       string // the address alone, IPv6 in brackets
	Port       int
	Weight     int    // at least 1
	Down       bool   // must be written `down`
	Backup     bool   // a fallback: must be written `backup`
	Params     string // everything behind the address, a blank before each: " weight=3 max_fails=2"; "" when all is default
	ID         string // "" for the placeholder and the fallbacks
	DataCenter Text
	Labels     map[string]Text
}

// Label returns the value of a label, or else otherwise, or else "". Unlike .Labels.NAME it takes any name and
// forgives a missing one.
func (l Line) Label(name string, otherwise ...Text) Text {
	if value, ok := l.Labels[name]; ok || len(otherwise) == 0 {
		return value
	}
	return otherwise[0]
}

// NewView puts the servers in their total order and computes all that templates may use. seed is the id of this load
// balancer: where places do not matter each one has a stable order of its own, so that after a reload not all of
// them begin with the same node; where they do (Balance.KeepsPlaces) the order is by id. An error is a *step.Error.
func NewView(u Upstream, servers []Server, seed string) (View, error) {
	if err := u.Validate(); err != nil {
		return View{}, step.Errorf(step.Render, "", "%w", err)
	}
	v := View{
		Name:        u.Name,
		Balance:     u.Balance.directive,
		Keepalive:   u.Keepalive,
		MaxFails:    u.Server.MaxFails,
		FailTimeout: seconds(u.Server),
		MaxConns:    u.Server.MaxConns,
		Placeholder: true,
		template:    cmp.Or(u.Template, templates.Default),
	}
	seen := make(map[string]bool, len(servers))
	for _, s := range inOrder(u.Balance, servers, seed) {
		err := s.check()
		if err == nil && seen[s.ID] {
			err = fmt.Errorf("node %s is there twice", s.ID)
		}
		if err != nil {
			return View{}, step.Errorf(step.Render, "", "upstream %s: %w", u.Name, err)
		}
		seen[s.ID] = true
		line := newLine(s.Addr, u.Server, max(s.Weight, 1), s.Down || s.Weight == 0, false)
		line.ID, line.DataCenter, line.Labels = s.ID, s.DataCenter, s.Labels
		v.Nodes = append(v.Nodes, line)
		v.Placeholder = v.Placeholder && line.Down
	}
	v.Servers = slices.Clone(v.Nodes)
	if v.Placeholder {
		v.Servers = append(v.Servers, newLine(netip.MustParseAddrPort(Placeholder), nginxDefaults, 1, true, false))
	}
	for _, addr := range u.Fallback {
		v.Servers = append(v.Servers, newLine(addr, u.Server, 1, false, true))
	}
	v.ZoneSize = ZoneSize(len(v.Servers))
	if u.Live != nil {
		u.Live(&v)
	}
	return v, nil
}

var nginxDefaults = ServerParams{MaxFails: 1, FailTimeout: 10 * time.Second}

// newLine fills a line; what is Nginx's default is left out of Params, so that what is special stands out.
func newLine(addr netip.AddrPort, p ServerParams, weight int, down, backup bool) Line {
	addr = netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
	text, port := addr.String(), strconv.Itoa(int(addr.Port()))
	var params strings.Builder
	write := func(is bool, word string) {
		if is {
			params.WriteString(" " + word)
		}
	}
	write(weight != 1, "weight="+strconv.Itoa(weight))
	write(p.MaxFails != nginxDefaults.MaxFails, "max_fails="+strconv.Itoa(p.MaxFails))
	write(p.FailTimeout != nginxDefaults.FailTimeout, "fail_timeout="+seconds(p))
	write(p.MaxConns != 0, "max_conns="+strconv.Itoa(p.MaxConns))
	write(backup, "backup")
	write(down, "down")
	return Line{
		Addr: text, Host: strings.TrimSuffix(text, ":"+port), Port: int(addr.Port()),
		Weight: weight, Down: down, Backup: backup, Params: params.String(),
	}
}

// seconds is the fail timeout as Nginx reads it.
func seconds(p ServerParams) string { return strconv.Itoa(int(p.FailTimeout.Seconds())) + "s" }

// ZoneSize returns the size of a zone for n servers. It grows in steps of four, so that it seldom changes. Nginx
// 1.22 needs up to 860 bytes a server and 32k at the least (measured with 1 to 10,000 servers, IPv6, all
// parameters, every balance); here each has 2048, since newer ones keep more about a server.
func ZoneSize(n int) string {
	kib := 256
	for kib < 2*n {
		kib *= 4
	}
	if kib >= 1024 {
		return strconv.Itoa(kib/1024) + "m"
	}
	return strconv.Itoa(kib) + "k"
}
