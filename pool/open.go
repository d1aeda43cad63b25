package pool

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

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

// Sentinel names a master that Redis Sentinels watch.
type Sentinel struct {
	Master       string   `yaml:"master"`
	Addrs        []string `yaml:"addrs"` // host:port of the Sentinels
	Username     string   `yaml:"username"`
	PasswordFile string   `yaml:"password_file"`
}

// Cluster names some nodes of a Redis Cluster.
type Cluster struct {
	Addrs []string `yaml:"addrs"` // host:port
}

// TLS is for rediss://, and for Sentinel and Cluster when any of its fields is set. All but ServerName are PEM files.
type TLS struct {
	CA         string `yaml:"ca"` // default: the system's
	Cert       string `yaml:"cert"`
	Key        string `yaml:"key"`
	ServerName string `yaml:"server_name"` // default: the host of the URL
}

// DefaultURL is where Redis is when nothing else is said.
const DefaultURL = "redis://127.0.0.1:6379/0"

// ioTimeout bounds each read and write on a connection to Redis; dialTimeout a connect.
const (
	dialTimeout = 2 * time.Second
	ioTimeout   = 3 * time.Second
)

// Pool is the node pool in one Redis. It is safe for concurrent use.
type Pool struct {
	rdb     redis.UniversalClient
	keys    Keys
	channel string
	where   string
}

// Open checks cfg and returns the pool. It opens no connection: each call connects when it must. Close it when done.
func Open(cfg Config) (*Pool, error) {
	logging.Disable() // go-redis would print to stderr what it returns as errors as well
	opt, err := cfg.options()
	if err != nil {
		return nil, err
	}
	p := New(redis.NewUniversalClient(opt), cfg.KeyPrefix, cfg.Channel)
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
	return &Pool{rdb: rdb, keys: k, channel: channel}
}

// Close closes the connections.
func (p *Pool) Close() error { return p.rdb.Close() }

// Where is the address of Redis, for messages; it holds no secret.
func (p *Pool) Where() string { return p.where }

// Ping asks Redis whether it is there.
func (p *Pool) Ping(ctx context.Context) error { return p.Explain(p.rdb.Ping(ctx).Err()) }

// Explain turns an error of a call into one that names this Redis and the way out; nil stays nil.
func (p *Pool) Explain(err error) error {
	switch {
	case err == nil, errors.Is(err, ErrNoSuchNode), errors.Is(err, context.Canceled):
		return err
	case redis.HasErrorPrefix(err, "NOAUTH"), redis.HasErrorPrefix(err, "WRONGPASS"):
		return fmt.Errorf("redis at %s wants a password: %w (set username and password_file in the redis: block)", p.where, err)
	case redis.HasErrorPrefix(err, "NOPERM"):
		return fmt.Errorf("redis at %s: this user may not do that: %w (give it the command, the keys and the channel in its ACL)", p.where, err)
	case isAnswer(err):
		return fmt.Errorf("redis at %s: %w", p.where, err)
	}
	return fmt.Errorf("redis at %s: %w (is it running? set --redis-url, or redis.url in the config)", p.where, err)
}

// isAnswer reports whether err is something that Redis said, so that it is there.
func isAnswer(err error) bool {
	var said redis.Error
	return errors.As(err, &said)
}

func (c Config) options() (*redis.UniversalOptions, error) {
	if c.URL == "" {
		c.URL = DefaultURL
	}
	u, err := redis.ParseURL(c.URL)
	if err != nil {
		return nil, fmt.Errorf("redis url %s: %s (write redis://host:6379/0, rediss://… or unix:///path)", redacted(c.URL), reason(c.URL, err))
	}
	o := &redis.UniversalOptions{
		Addrs: []string{u.Addr}, DB: u.DB, Username: u.Username, Password: u.Password, TLSConfig: u.TLSConfig,
		DialTimeout: dialTimeout, ReadTimeout: ioTimeout, WriteTimeout: ioTimeout, ContextTimeoutEnabled: true,
		MaxRetries: 1, DialerRetries: 2, DisableIdentity: true,
		// A connection that a stalled Redis left behind is not waited for longer than one read.
		PoolTimeout: ioTimeout,
	}
	if c.Username != "" {
		o.Username = c.Username
	}
	if o.Password, err = secret(c.PasswordFile, o.Password); err != nil {
		return nil, fmt.Errorf("redis password_file: %w", err)
	}
	if c.Sentinel.Master != "" {
		if len(c.Sentinel.Addrs) == 0 {
			return nil, errors.New("redis sentinel: addrs is empty: name the Sentinels as host:port")
		}
		o.Addrs, o.MasterName, o.SentinelUsername = c.Sentinel.Addrs, c.Sentinel.Master, c.Sentinel.Username
		if o.SentinelPassword, err = secret(c.Sentinel.PasswordFile, ""); err != nil {
			return nil, fmt.Errorf("redis sentinel password_file: %w", err)
		}
	} else if len(c.Cluster.Addrs) > 0 {
		if !strings.Contains(c.KeyPrefix, "{") {
			return nil, errors.New("redis cluster: key_prefix must be a hash tag, so that all keys share a slot: set key_prefix: '{bazbeans}'")
		}
		o.Addrs, o.IsClusterMode = c.Cluster.Addrs, true
	}
	if o.TLSConfig, err = c.TLS.config(o.TLSConfig); err != nil {
		return nil, fmt.Errorf("redis tls: %w", err)
	}
	return o, nil
}

// config returns base with the settings put in; nil when neither asks for TLS.
func (t TLS) config(base *tls.Config) (*tls.Config, error) {
	if t == (TLS{}) {
		return base, nil
	}
	if base == nil {
		base = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if t.ServerName != "" {
		base.ServerName = t.ServerName
	}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, err
		}
		base.RootCAs = x509.NewCertPool()
		if !base.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca %s holds no certificate in PEM form", t.CA)
		}
	}
	if (t.Cert == "") != (t.Key == "") {
		return nil, errors.New("cert and key go together")
	}
	if t.Cert != "" {
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, err
		}
		base.Certificates = []tls.Certificate{pair}
	}
	return base, nil
}

// secret returns the first line of file, or otherwise when no file is named.
func secret(file, otherwise string) (string, error) {
	if file == "" {
		return otherwise, nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return strings.TrimSuffix(line, "\r"), nil
}

// redacted shows a URL without its password, also when it does not parse.
func redacted(raw string) string {
	if u, err := url.Parse(raw); err == nil {
		return u.Redacted()
	}
	if i := strings.LastIndex(raw, "@"); i >= 0 {
		return "…" + raw[i:]
	}
	return raw
}

// reason says what is wrong with a URL, and nothing that could be a part of its password.
func reason(raw string, err error) string {
	if strings.Contains(raw, "@") {
		return "it can't be read: write / # ? % @ in the password as %2F %23 %3F %25 %40, or use password_file"
	}
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err.Error()
	}
	return err.Error()
}
