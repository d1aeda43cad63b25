package pool_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
	"github.com/bazbeans/bazbeans/pool"
)

func TestTLS(t *testing.T) {
	certs := serverstest.Certificates(t)
	srv := serverstest.RedisTLS(t, certs)
	ours := pool.TLS{CA: certs.CA, Cert: certs.ClientCert, Key: certs.ClientKey}
	t.Run("life", func(t *testing.T) { castOf(t, pool.Config{URL: srv.URL(), TLS: ours}).life(t) })

	stranger := serverstest.Certificates(t)
	plain := serverstest.Redis(t)
	broken := filepath.Join(serverstest.Dir(t), "broken.pem")
	if err := os.WriteFile(broken, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		cfg  pool.Config
		want string // in the error; "": none
	}{
		{"server_name that the certificate holds", pool.Config{URL: srv.URL(), TLS: pool.TLS{CA: certs.CA, Cert: certs.ClientCert, Key: certs.ClientKey, ServerName: "localhost"}}, ""},
		{"tls: makes redis:// secure", pool.Config{URL: "redis://" + srv.Addr(), TLS: ours}, ""},
		{"server_name of another", pool.Config{URL: srv.URL(), TLS: pool.TLS{CA: certs.CA, Cert: certs.ClientCert, Key: certs.ClientKey, ServerName: "db.example"}}, "set tls.server_name"},
		{"no ca", pool.Config{URL: srv.URL()}, "set tls.ca"},
		{"ca of another", pool.Config{URL: srv.URL(), TLS: pool.TLS{CA: stranger.CA}}, "set tls.ca"},
		{"no client certificate", pool.Config{URL: srv.URL(), TLS: pool.TLS{CA: certs.CA}}, "in tls.cert and tls.key"},
		{"client certificate of another", pool.Config{URL: srv.URL(), TLS: pool.TLS{CA: certs.CA, Cert: stranger.ClientCert, Key: stranger.ClientKey}}, "in tls.cert and tls.key"},
		{"no TLS to a TLS port", pool.Config{URL: "redis://" + srv.Addr()}, "a TLS port wants rediss://"},
		{"TLS to a port without", pool.Config{URL: "rediss://" + plain.Addr(), TLS: ours}, "write redis://"},
		{"cert without key", pool.Config{URL: srv.URL(), TLS: pool.TLS{Cert: certs.ClientCert}}, "cert and key go together"},
		{"ca that is none", pool.Config{URL: srv.URL(), TLS: pool.TLS{CA: broken}}, "holds no certificate in PEM form"},
		{"ca that is missing", pool.Config{URL: srv.URL(), TLS: pool.TLS{CA: "/no/such/ca.pem"}}, "no such file"},
		{"a unix socket", pool.Config{URL: "unix:///run/redis.sock", TLS: ours}, "a unix socket has none"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := opened(t, c.cfg)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// opened is the first error of opening a pool and asking for its Redis.
func opened(t *testing.T, cfg pool.Config) error {
	t.Helper()
	p, err := pool.Open(cfg)
	if err != nil {
		return err
	}
	defer p.Close()
	inTime(t, "ping", 10*time.Second, func() { err = p.Ping(t.Context()) })
	return err
}
