package pool

import (
	"context"
	"strings"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
)

// Config is the `redis:` block that all binaries share. Its zero value is the Redis of this machine.
type Config struct {
	URL          string   `yaml:"url"`           // redis://, rediss:// or unix://; default redis://127.0.0.1:6379/0
	Username     string   `yaml:"username"`      // beats the URL's
	PasswordFile string   `yaml:"password_file"` // beats the URL's; the file's first line
	Sentinel     Sentinel `yaml:"sentinel"`
	Cluster      Cluster  `yaml:"cluster"`
	TLS          TLS      `yaml:"tls"`
	KeyPrefix    string   `yaml:"key_prefix"` // default bazbeans; write {bazbeans} on Redis Cluster
	Channel      string   `yaml:"channel"`    // default <key_prefix>:lb_events
}

// Sentinel names a master that Redis Sentinels watch. Of the URL only user, password and database are used then, for the
// master itself.
type Sentinel struct {
	Master       string   `yaml:"master"`
	Addrs        []string `yaml:"addrs"` // host:port of the Sentinels
	Username     string   `yaml:"username"`
	PasswordFile string   `yaml:"password_file"`
}

// Cluster names some nodes of a Redis Cluster. Of the URL only user and password are used then.
type Cluster struct {
	Addrs []string `yaml:"addrs"` // host:port
}

// TLS is used with rediss://, and whenever any of its fields is set: then to Sentinels and Cluster nodes as well. All
// but ServerName are PEM files; Cert and Key are this client's certificate.
type TLS struct {
	CA         string `yaml:"ca"` // default: the system's
	Cert       string `yaml:"cert"`
	Key        string `yaml:"key"`
	ServerName string `yaml:"server_name"` // what the server's certificate must name; default: the host connected to
}

// DefaultURL is where Redis is when nothing else is said.
const DefaultURL = "redis://127.0.0.1:6379/0"

// Pool is the node pool in one Redis. It is safe for concurrent use.
type Pool struct {
	rdb     redis.UniversalClient
	keys    Keys
	channel string
	where   string
	careful atomic.Int64 // until when looks are careful ones, in Unix nanoseconds; see careful.go
}

// Open checks cfg and returns the pool. It opens no connection: each call connects when it must. Close it when done.
func Open(cfg Config) (*Pool, error) {
	logging.Disable() // go-redis would print to stderr what it returns as errors as well
	opt, err := cfg.options()
	if err != nil {
		return nil, err
	}
	p := New(client(opt), cfg.KeyPrefix, cfg.Channel)
	p.where = strings.Join(opt.Addrs, ",")
	return p, nil
}

// New returns the pool over a client that the caller made and that Close closes. An empty prefix or channel means the
// default.
func New(rdb redis.UniversalClient, prefix, channel string) *Pool {
	if prefix == "" {
		prefix = DefaultPrefix
	}
	k := Keys{prefix: prefix}
	if channel == "" {
		channel = k.channel()
	}
	rdb.AddHook(wrongTypes{rdb, k})
	return &Pool{rdb: rdb, keys: k, channel: channel}
}

// Close closes the connections.
func (p *Pool) Close() error { return p.rdb.Close() }

// Where is the address of Redis, for messages; several, of Sentinels or a Cluster, are separated by commas. It holds no
// secret.
func (p *Pool) Where() string { return p.where }

// Ping asks Redis whether it is there.
func (p *Pool) Ping(ctx context.Context) error { return p.Explain(p.rdb.Ping(ctx).Err()) }
