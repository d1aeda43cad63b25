package lbd

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/bazbeans/bazbeans/conf"
	"github.com/bazbeans/bazbeans/lbd/nginx"
	"github.com/bazbeans/bazbeans/pool"
	"github.com/bazbeans/bazbeans/render"
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

	mayLack string // the one templates folder that may be missing: nobody named it
}

// NginxConfig says which Nginx, and how to reload it.
type NginxConfig struct {
	Binary string `yaml:"binary"` // default nginx, from PATH
	Prefix string `yaml:"prefix"` // nginx -p; default: the built-in one
	Conf   string `yaml:"conf"`   // main file; default /etc/nginx/nginx.conf
	PID    string `yaml:"pid"`    // default /run/nginx.pid
	Reload Argv   `yaml:"reload"` // "signal" (the default) or a command as a list of words
	Proof  string `yaml:"proof"`  // also ask new workers at this listener; default none. See nginx.Options
	Apply  string `yaml:"apply"`  // reload (the default), live, or auto: live where this Nginx can
	Live   string `yaml:"live"`   // by which live engine: lua, resolve, or auto (the default), the first of them that this Nginx can
	Names  string `yaml:"names"`  // where lbd answers Nginx's questions, with resolve; default 127.0.0.1:9153
}

// nginx is what the engine needs of the config.
func (c *Config) nginx(log *slog.Logger) nginx.Options {
	n := c.Nginx
	return nginx.Options{Binary: n.Binary, Prefix: n.Prefix, Conf: n.Conf, PID: n.PID, Reload: n.Reload, Proof: n.Proof,
		StateDir: filepath.Join(c.StateDir, "nginx"), Log: log}
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

// mayAsk reports whether Nginx may come to ask lbd for names, which it then answers at Names; see choose.
func (c *NginxConfig) mayAsk() bool {
	return c.Live == "resolve" && c.Apply != "reload" || c.Live == "auto" && c.Apply == "live"
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
	Fallback  []string     `yaml:"fallback"`  // "IP:port", backup servers
	MaxNodes  int          `yaml:"max_nodes"` // more than this are refused, the newest first; default 2000
}

// ServerConfig holds the parameters of each `server` line.
type ServerConfig struct {
	MaxFails    int           `yaml:"max_fails"`    // default 1
	FailTimeout time.Duration `yaml:"fail_timeout"` // default 10s
	MaxConns    int           `yaml:"max_conns"`    // default 0, no limit
	SlowStart   time.Duration `yaml:"slow_start"`   // until a node that comes in has its full weight; default 0, at once; with lua alone
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
		Server: ServerConfig{MaxFails: 1, FailTimeout: 10 * time.Second}, MaxNodes: 2000}
}

// Timing paces the loop.
type Timing struct {
	MinInterval time.Duration `yaml:"min_interval"` // between reloads; default 1s
	Resync      time.Duration `yaml:"resync"`       // a full look at least so often; default 10s

	// With so many former configurations whose workers have not ended, nothing goes in but what takes a server out: each
	// holds memory. Default 8.
	MaxOldGenerations int `yaml:"max_old_generations"`
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
		Nginx:     NginxConfig{Binary: "nginx", Conf: "/etc/nginx/nginx.conf", PID: "/run/nginx.pid", Apply: "reload", Live: "auto", Names: "127.0.0.1:9153"},
		Templates: defaultTemplates,
		mayLack:   defaultTemplates,
		Timing:    Timing{MinInterval: time.Second, Resync: 10 * time.Second, MaxOldGenerations: 8},
		Guard:     GuardConfig{MinNodes: 1, MaxShrink: 50, Window: time.Minute, Hold: time.Minute},
		StateDir:  "/var/lib/lbd",
		Status:    StatusConfig{Listen: "127.0.0.1:9180"},
	}
}

// defaultTemplates may be missing; a folder that was named may not.
const defaultTemplates = "/etc/lbd/templates"

// templatesDir is the folder to read, "" for the built-in templates alone. Whose templates in use come from a folder does
// not give them up because that is away, moved aside for a new one, say.
func (c *Config) templatesDir(inUse *render.Set) string {
	if c.Templates == c.mayLack && !inUse.Own() {
		if _, err := os.Stat(c.Templates); errors.Is(err, os.ErrNotExist) {
			return ""
		}
	}
	return c.Templates
}
