package lbd

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-multierror"

	"github.com/bazbeans/bazbeans/lbd/live/lua"
	"github.com/bazbeans/bazbeans/lbd/nginx"
	"github.com/bazbeans/bazbeans/pool"
	"github.com/bazbeans/bazbeans/render"
	"github.com/bazbeans/bazbeans/resolvers"
)

// complete puts in the defaults of lists and checks everything; the error names all that is wrong.
func (c *Config) complete() error {
	if len(c.Upstreams) == 0 {
		c.Upstreams = []UpstreamConfig{defaultUpstream()}
	}
	if len(c.Resolvers) == 0 {
		c.Resolvers = []ResolverConfig{{Kind: "redis"}}
	}
	var errs *multierror.Error
	bad := func(format string, args ...any) { errs = multierror.Append(errs, fmt.Errorf(format, args...)) }
	if err := pool.CheckID(c.ID); err != nil {
		bad("id: %w (set id in the config or --id)", err)
	}
	names, outputs := map[string]bool{}, map[string]bool{}
	for i := range c.Upstreams {
		u := &c.Upstreams[i]
		if names[u.Name] {
			bad("upstreams[%d]: the name %s is taken by another", i, u.Name)
		}
		names[u.Name] = true
		if !filepath.IsAbs(u.Output) {
			bad("upstreams[%d] %s: output %q is not an absolute path", i, u.Name, u.Output)
		}
		if u.Output = filepath.Clean(u.Output); outputs[u.Output] {
			bad("upstreams[%d] %s: the output %s is another upstream's; give each a file of its own", i, u.Name, u.Output)
		}
		outputs[u.Output] = true
		if label, ok := strings.CutPrefix(u.PortFrom, "label:"); !ok && u.PortFrom != "node" && u.PortFrom != "config" || ok && label == "" {
			bad("upstreams[%d] %s: port_from %q is not one of node, config, label:NAME", i, u.Name, u.PortFrom)
		}
		if u.MaxNodes == 0 {
			u.MaxNodes = defaultUpstream().MaxNodes
		}
		if u.MaxNodes < 0 {
			bad("upstreams[%d] %s: max_nodes %d is negative", i, u.Name, u.MaxNodes)
		}
		if d := u.Server.SlowStart; d < 0 || d > time.Hour || d%time.Second != 0 {
			bad("upstreams[%d] %s: server.slow_start %s is not in whole seconds from 0s to 1h", i, u.Name, d)
		}
		if u.Port == 0 {
			bad("upstreams[%d] %s: port 0 is not a port", i, u.Name)
		}
		if _, err := u.render(); err != nil {
			bad("upstreams[%d] %s: %w", i, u.Name, err)
		}
	}
	if _, err := resolvers.ParseNetworks(c.AllowNetworks); err != nil {
		bad("allow_networks: %w", err)
	}
	if !slices.Contains([]string{"auto", "reload", "live"}, c.Nginx.Apply) {
		bad("nginx.apply %.40q is not one of auto, reload, live", c.Nginx.Apply)
	}
	if !slices.Contains([]string{"auto", "lua", "resolve"}, c.Nginx.Live) {
		bad("nginx.live %.40q is not one of auto, lua, resolve", c.Nginx.Live)
	}
	if at, err := netip.ParseAddrPort(c.Nginx.Names); err != nil || !at.Addr().IsLoopback() || at.Port() == 0 {
		bad("nginx.names %.60q is not a loopback address with a port, like 127.0.0.1:9153", c.Nginx.Names)
	}
	if err := lua.CheckSocket(luaSocket(c.StateDir)); err != nil && c.Nginx.Apply != "reload" && c.Nginx.Live != "resolve" {
		bad("state_dir: %w, or nginx.live: resolve", err)
	}
	if _, err := nginx.New(c.nginx(nil)); err != nil {
		bad("%w", err)
	}
	if c.Timing.Resync < 100*time.Millisecond {
		bad("timing.resync %s is shorter than 100ms", c.Timing.Resync)
	}
	if c.Timing.MaxOldGenerations < 1 {
		bad("timing.max_old_generations %d is less than 1", c.Timing.MaxOldGenerations)
	}
	if c.Timing.MinInterval < 0 {
		bad("timing.min_interval %s is negative", c.Timing.MinInterval)
	}
	if c.Guard.MinNodes < 1 {
		bad("guard.min_nodes %d is less than 1: an empty set never replaces a good one", c.Guard.MinNodes)
	}
	if c.Guard.Window < 0 || c.Guard.Hold < 0 {
		bad("guard: window and hold can't be negative")
	}
	if _, _, err := net.SplitHostPort(c.Status.Listen); c.Status.Listen != "" && err != nil {
		bad("status.listen: %w (write 127.0.0.1:9180)", err)
	}
	if !filepath.IsAbs(c.StateDir) {
		bad("state_dir %q is not an absolute path", c.StateDir)
	}
	if errs != nil {
		errs.ErrorFormat = plainList
	}
	return errs.ErrorOrNil()
}

// plainList puts one error on a line.
func plainList(errs []error) string {
	lines := make([]string, len(errs))
	for i, e := range errs {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

// render returns what rendering needs of the upstream.
func (u *UpstreamConfig) render() (render.Upstream, error) {
	r := render.Upstream{Name: u.Name, Template: u.Template, Keepalive: u.Keepalive,
		Server: render.ServerParams{MaxFails: u.Server.MaxFails, FailTimeout: u.Server.FailTimeout, MaxConns: u.Server.MaxConns}}
	var err error
	if r.Balance, err = render.ParseBalance(u.Balance); err != nil {
		return r, err
	}
	for _, f := range u.Fallback {
		ap, err := netip.ParseAddrPort(f)
		if err != nil {
			return r, fmt.Errorf("fallback %.80q is not of the form 10.0.0.1:8000", f)
		}
		r.Fallback = append(r.Fallback, netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()))
	}
	return r, r.Validate()
}
