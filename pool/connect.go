package pool

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// What one call may take when its context has no earlier end: a connect, and each write and each read on a connection.
const (
	dialTimeout = 2 * time.Second
	ioTimeout   = 3 * time.Second
)

// poolSize is how many connections one process opens at most, besides the one that listens for events. An agent needs
// two or three, and 10,000 of them share Redis's maxclients.
const poolSize = 8

func (c Config) options() (*redis.UniversalOptions, error) {
	if c.URL == "" {
		c.URL = DefaultURL
	}
	u, err := redis.ParseURL(c.URL)
	if plain, perr := url.Parse(c.URL); err == nil && perr == nil && plain.Opaque != "" {
		err = errors.New("its host comes after //") // ParseURL would take this machine's Redis for it
	}
	if err != nil {
		return nil, fmt.Errorf("redis url %s: %s (write redis://host:6379/0, rediss://… or unix:///path)", redacted(c.URL), reason(c.URL, err))
	}
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf("redis "+format, args...)) }
	if extra := settings(c.URL); len(extra) > 0 {
		wrong("url: %s after the ? is not read: of such settings there are db and skip_verify", strings.Join(extra, ", "))
	}
	o := &redis.UniversalOptions{
		Addrs: []string{u.Addr}, DB: u.DB, Username: u.Username, Password: u.Password,
		DialTimeout: dialTimeout, ReadTimeout: ioTimeout, WriteTimeout: ioTimeout, ContextTimeoutEnabled: true,
		// A read is sent again once, say after Redis was restarted; run says what holds for writes.
		MaxRetries: 1, DialerRetries: 2,
		// A connection that a stalled Redis left behind is not waited for longer than one read.
		PoolSize: poolSize, PipelinePoolSize: -1, PoolTimeout: ioTimeout,
		// Nothing but our own commands: an ACL need not know what go-redis would say of itself.
		DisableIdentity: true, MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	if c.Username != "" {
		o.Username = c.Username
	}
	if o.Password, err = secret(c.PasswordFile, o.Password); err != nil {
		wrong("password_file: %w", err)
	} else if o.Username != "" && o.Password == "" {
		wrong("username %s has no password: set password_file", o.Username)
	}
	secure := u.TLSConfig
	several := c.Sentinel.Master != "" || len(c.Cluster.Addrs) > 0
	if secure != nil && several {
		secure.ServerName = "" // the URL's host is none of theirs
	}
	c.several(o, wrong)
	if secure, err = c.TLS.config(secure); err != nil {
		wrong("tls: %w", err)
	} else if secure != nil && !several && u.Network == "unix" {
		wrong("tls: a unix socket has none: write rediss://, or leave tls out")
	}
	o.Dialer = dialer(secure)
	return o, errors.Join(errs...)
}

// several sets where Redis is when Sentinels or a Cluster know that.
func (c Config) several(o *redis.UniversalOptions, wrong func(format string, args ...any)) {
	switch {
	case c.Sentinel.Master != "" && len(c.Cluster.Addrs) > 0:
		wrong("sentinel and cluster exclude each other: keep the one that this Redis is")
	case c.Sentinel.Master != "":
		if len(c.Sentinel.Addrs) == 0 {
			wrong("sentinel: addrs is empty: name the Sentinels as host:port")
		}
		o.Addrs, o.MasterName, o.SentinelUsername = slices.Clone(c.Sentinel.Addrs), c.Sentinel.Master, c.Sentinel.Username
		var err error
		if o.SentinelPassword, err = secret(c.Sentinel.PasswordFile, ""); err != nil {
			wrong("sentinel password_file: %w", err)
		} else if o.SentinelUsername != "" && o.SentinelPassword == "" {
			wrong("sentinel: username %s has no password: set its password_file", o.SentinelUsername)
		}
	case len(c.Sentinel.Addrs) > 0:
		wrong("sentinel: master is empty: it is the name after `sentinel monitor` in their configuration")
	case len(c.Cluster.Addrs) > 0:
		if !hashTagged(c.KeyPrefix) {
			wrong("cluster: key_prefix must be a hash tag, so that all keys share a slot: set key_prefix: '{bazbeans}'")
		}
		if o.DB != 0 {
			wrong("cluster: there is no database %d: a cluster has only 0", o.DB)
		}
		o.Addrs, o.IsClusterMode = slices.Clone(c.Cluster.Addrs), true // go-redis appends to it
	}
}

// clusterAge is how old a process's map of the cluster may grow before the next call asks for a new one. go-redis asks
// by itself only when a node redirects it: with the master of our slot dead it would wait for a minute.
const clusterAge = 2 * time.Second

func client(o *redis.UniversalOptions) redis.UniversalClient {
	if o.IsClusterMode {
		c := o.Cluster()
		c.ClusterStateReloadInterval = clusterAge
		return redis.NewClusterClient(c)
	}
	rdb := redis.NewUniversalClient(o)
	rdb.AddHook(dialErrors{sentinels: o.MasterName})
	return rdb
}

// hashTagged reports whether Redis Cluster puts all keys with this prefix into one slot: it hashes what stands between
// the first { and the next }, if anything does.
func hashTagged(prefix string) bool {
	_, rest, _ := strings.Cut(prefix, "{")
	tag, _, closed := strings.Cut(rest, "}")
	return closed && tag != ""
}

// settings lists what a URL sets behind its ? and nobody would heed.
func settings(raw string) (names []string) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil
	}
	for name := range u.Query() {
		if name != "db" && name != "skip_verify" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
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
	if line = strings.TrimSuffix(line, "\r"); line == "" {
		return "", fmt.Errorf("%s: its first line is empty", file)
	}
	return line, nil
}

// redacted shows a URL without its password, also when it does not parse, and without what stands behind its ?.
func redacted(raw string) string {
	u, err := url.Parse(raw)
	if err == nil && (u.User != nil || !strings.Contains(raw, "@")) {
		u.RawQuery, u.Fragment = "", ""
		return u.Redacted()
	}
	shown := raw
	if i := strings.LastIndex(raw, "@"); i >= 0 {
		shown = "…" + raw[i:]
	}
	shown, _, _ = strings.Cut(shown, "?")
	return shown
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
