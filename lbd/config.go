package lbd

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-multierror"
	"go.yaml.in/yaml/v3"

	"github.com/bazbeans/bazbeans/conf"
	"github.com/bazbeans/bazbeans/pool"
	"github.com/bazbeans/bazbeans/render"
	"github.com/bazbeans/bazbeans/resolvers"
)

// Config is lbd's configuration file. Defaults are those of DefaultConfig.
type Config struct {
	ID            string           `yaml:"id"` // this load balancer; default: the host name
	Redis         pool.Config      `yaml:"redis"`
	Nginx         NginxConfig      `yaml:"nginx"`
	Templates     string           `yaml:"templates"` // folder; default /etc/lbd/templates, which may be missing
	Upstreams     []UpstreamConfig `yaml:"upstreams"` // default: one
	Resolvers     []ResolverConfig `yaml:"resolvers"` // asked in this order; default: redis
	AllowNetworks []string         `yaml:"allow_networks"`
	Timing        Timing           `yaml:"timing"`
	Guard         GuardConfig      `yaml:"guard"`
	StateDir      string           `yaml:"state_dir"` // default /var/lib/lbd
	Status        StatusConfig     `yaml:"status"`
}

// NginxConfig says which Nginx, and how to reload it.
type NginxConfig struct {
	Binary string `yaml:"binary"` // default nginx, from PATH
	Prefix string `yaml:"prefix"` // nginx -p; default: the built-in one
	Conf   string `yaml:"conf"`   // main file; default /etc/nginx/nginx.conf
	PID    string `yaml:"pid"`    // default /run/nginx.pid
	Reload Argv   `yaml:"reload"` // "signal" (the default) or a command as a list of words
	Proof  string `yaml:"proof"`  // not built yet: must be empty
	Apply  string `yaml:"apply"`  // reload (the default), or auto, which is reload until there is another engine
	Live   string `yaml:"live"`   // auto (the default); without meaning until there is a live engine
}

// Argv is a command as a list of words; nil stands for "signal".
type Argv []string

// UnmarshalYAML reads "signal" or a list of words.
func (a *Argv) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode && n.Value == "signal" {
		*a = nil
		return nil
	}
	var words []string
	if n.Kind != yaml.SequenceNode || n.Decode(&words) != nil || len(words) == 0 {
		return conf.Errorf(n, `want "signal" or a list of words like ["systemctl", "reload", "nginx"]`)
	}
	*a = words
	return nil
}

// UpstreamConfig is one upstream and the file it is written to.
type UpstreamConfig struct {
	Name      string       `yaml:"name"`
	Template  string       `yaml:"template"` // default upstream.conf.tmpl
	Output    string       `yaml:"output"`   // absolute path
	Port      uint16       `yaml:"port"`     // for nodes that registered none; default 8000
	PortFrom  string       `yaml:"port_from"`
	Select    Select       `yaml:"select"`
	Balance   string       `yaml:"balance"`   // default least_conn
	Keepalive int          `yaml:"keepalive"` // default 32; 0: no line
	Server    ServerConfig `yaml:"server"`
	Fallback  []string     `yaml:"fallback"` // "IP:port", backup servers
}

// ServerConfig holds the parameters of each `server` line.
type ServerConfig struct {
	MaxFails    int           `yaml:"max_fails"`    // default 1
	FailTimeout time.Duration `yaml:"fail_timeout"` // default 10s
	MaxConns    int           `yaml:"max_conns"`    // default 0, no limit
}

// Select narrows an upstream to some nodes; what is empty selects all.
type Select struct {
	DataCenter []string          `yaml:"data_center"` // one of these
	Labels     map[string]string `yaml:"labels"`      // all of these
}

func (s Select) matches(n *pool.Node) bool {
	if len(s.DataCenter) > 0 {
		found := false
		for _, dc := range s.DataCenter {
			found = found || dc == n.DataCenter
		}
		if !found {
			return false
		}
	}
	for k, v := range s.Labels {
		if n.Labels[k] != v {
			return false
		}
	}
	return true
}

// UnmarshalYAML puts the defaults in first.
func (u *UpstreamConfig) UnmarshalYAML(n *yaml.Node) error {
	type plain UpstreamConfig
	p := plain(defaultUpstream())
	p.Name, p.Output = "", "" // several upstreams need names of their own
	err := n.Decode(&p)
	*u = UpstreamConfig(p)
	return err
}

func defaultUpstream() UpstreamConfig {
	return UpstreamConfig{Name: "app_backend", Template: "upstream.conf.tmpl", Output: "/etc/nginx/conf.d/upstream.conf",
		Port: 8000, PortFrom: "node", Balance: "least_conn", Keepalive: 32,
		Server: ServerConfig{MaxFails: 1, FailTimeout: 10 * time.Second}}
}

// Timing paces the loop.
type Timing struct {
	MinInterval time.Duration `yaml:"min_interval"` // between reloads; default 1s
	Resync      time.Duration `yaml:"resync"`       // a full look at least so often; default 10s
}

// GuardConfig bounds what a look at Redis may take away from Nginx. See judge.
type GuardConfig struct {
	MinNodes  int           `yaml:"min_nodes"`  // fewer servers than this are held without end; default 1
	MaxShrink Percent       `yaml:"max_shrink"` // more lost than this within Window is held for Hold; default 50%
	Window    time.Duration `yaml:"window"`     // default 60s
	Hold      time.Duration `yaml:"hold"`       // default 60s
}

// Percent is a share, 0 to 100, written like 50%.
type Percent float64

// UnmarshalYAML reads "50%".
func (p *Percent) UnmarshalYAML(n *yaml.Node) error {
	f, err := strconv.ParseFloat(strings.TrimSuffix(n.Value, "%"), 64)
	if err != nil || !strings.HasSuffix(n.Value, "%") || !(f >= 0 && f <= 100) {
		return conf.Errorf(n, "%q is not a share from 0%% to 100%%", n.Value)
	}
	*p = Percent(f)
	return nil
}

// StatusConfig is lbd's HTTP.
type StatusConfig struct {
	Listen string `yaml:"listen"` // default 127.0.0.1:9180; "" for none
}

// DefaultConfig returns what holds where a config says nothing.
func DefaultConfig() Config {
	host, _ := os.Hostname() // without one, validation asks for an id
	return Config{
		ID:        host,
		Nginx:     NginxConfig{Binary: "nginx", Conf: "/etc/nginx/nginx.conf", PID: "/run/nginx.pid", Apply: "reload", Live: "auto"},
		Templates: defaultTemplates,
		Timing:    Timing{MinInterval: time.Second, Resync: 10 * time.Second},
		Guard:     GuardConfig{MinNodes: 1, MaxShrink: 50, Window: time.Minute, Hold: time.Minute},
		StateDir:  "/var/lib/lbd",
		Status:    StatusConfig{Listen: "127.0.0.1:9180"},
	}
}

// defaultTemplates may be missing; a folder that was named may not.
const defaultTemplates = "/etc/lbd/templates"

// templatesDir is the folder to read, "" for the built-in templates alone.
func (c *Config) templatesDir() string {
	if c.Templates == defaultTemplates {
		if _, err := os.Stat(c.Templates); errors.Is(err, os.ErrNotExist) {
			return ""
		}
	}
	return c.Templates
}

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
	if c.Nginx.Apply != "reload" && c.Nginx.Apply != "auto" {
		bad("nginx.apply %q is not available in this version (there are: reload, auto)", c.Nginx.Apply)
	}
	if c.Nginx.Live != "auto" {
		bad("nginx.live %q is not available in this version (there is: auto)", c.Nginx.Live)
	}
	if c.Nginx.Proof != "" {
		bad("nginx.proof is not available in this version: leave it empty")
	}
	if c.Timing.Resync < 100*time.Millisecond {
		bad("timing.resync %s is shorter than 100ms", c.Timing.Resync)
	}
	if c.Timing.MinInterval < 0 {
		bad("timing.min_interval %s is negative", c.Timing.MinInterval)
	}
	if c.Guard.MinNodes < 0 || c.Guard.Window < 0 || c.Guard.Hold < 0 {
		bad("guard: min_nodes, window and hold can't be negative")
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
