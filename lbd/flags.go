package lbd

import (
	"errors"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/bazbeans/bazbeans/pool"
)

// flags ties the flags to cfg. Those of an upstream are for a site with one; resolver flags replace the file's list.
func flags(fs *pflag.FlagSet, cfg *Config) {
	fs.StringVar(&cfg.ID, "id", cfg.ID, "this load balancer's `name` in the pool")
	fs.StringVar(&cfg.Redis.URL, "redis-url", cfg.Redis.URL, "Redis: redis://, rediss:// or unix:// (default redis://127.0.0.1:6379/0)")
	fs.StringVar(&cfg.Nginx.Binary, "nginx-binary", cfg.Nginx.Binary, "the nginx `program`")
	fs.StringVar(&cfg.Nginx.Conf, "nginx-conf", cfg.Nginx.Conf, "nginx's main configuration `file`")
	fs.StringVar(&cfg.Nginx.PID, "nginx-pid", cfg.Nginx.PID, "nginx's pid `file`")
	fs.StringVar(&cfg.Nginx.Prefix, "nginx-prefix", cfg.Nginx.Prefix, "nginx's prefix `folder` (nginx -p)")
	fs.StringVar(&cfg.Templates, "templates", cfg.Templates, "templates `folder`; built-in ones are used for names it lacks")
	fs.StringArrayVar(&cfg.AllowNetworks, "allow-network", cfg.AllowNetworks, "a `network` whose addresses may be servers (repeatable)")
	fs.StringVar(&cfg.Status.Listen, "status-listen", cfg.Status.Listen, "`address` of /healthz, /readyz, /metrics and /status; empty for none")
	fs.StringVar(&cfg.StateDir, "state-dir", cfg.StateDir, "`folder` for what lbd must remember")
	fs.DurationVar(&cfg.Timing.MinInterval, "min-interval", cfg.Timing.MinInterval, "`time` between reloads")
	fs.DurationVar(&cfg.Timing.Resync, "resync", cfg.Timing.Resync, "look at Redis at least this often")

	one := func() *UpstreamConfig {
		if len(cfg.Upstreams) == 0 {
			cfg.Upstreams = []UpstreamConfig{defaultUpstream()}
		}
		return &cfg.Upstreams[0]
	}
	upstreamFlag := func(name, usage string, set func(u *UpstreamConfig, v string) error) {
		fs.Func(name, usage, func(v string) error {
			if len(cfg.Upstreams) > 1 {
				return errors.New("the config names several upstreams: set it there")
			}
			return set(one(), v)
		})
	}
	upstreamFlag("upstream-name", "`name` of the upstream (default app_backend)", func(u *UpstreamConfig, v string) error { u.Name = v; return nil })
	upstreamFlag("upstream-file", "`file` to write (default /etc/nginx/conf.d/upstream.conf)", func(u *UpstreamConfig, v string) error { u.Output = v; return nil })
	upstreamFlag("node-port", "`port` of nodes that registered none (default 8000)", func(u *UpstreamConfig, v string) (err error) {
		u.Port, err = pool.ParsePort(v)
		return err
	})
	first := true
	fs.Func("resolver", "where addresses come from: `KIND[:ARG]`, asked in this order (repeatable; default redis)", func(v string) error {
		if first {
			cfg.Resolvers, first = nil, false
		}
		kind, arg, _ := strings.Cut(v, ":")
		cfg.Resolvers = append(slices.Clip(cfg.Resolvers), ResolverConfig{Kind: kind, Arg: arg})
		return nil
	})
}
