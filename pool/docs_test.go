package pool_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/bazbeans/bazbeans/conf"
	"github.com/bazbeans/bazbeans/dev/servers"
	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
	"github.com/bazbeans/bazbeans/pool"
)

// redisPage is docs/redis.md.
func redisPage(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../docs/redis.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// blocks returns the page's blocks of a language that hold a word.
func blocks(t *testing.T, lang, word string) (all []string) {
	t.Helper()
	for _, m := range regexp.MustCompile("(?s)```"+lang+"\n(.*?)```").FindAllStringSubmatch(redisPage(t), -1) {
		if strings.Contains(m[1], word) {
			all = append(all, m[1])
		}
	}
	if len(all) == 0 {
		t.Fatalf("docs/redis.md has no block %s with %s", lang, word)
	}
	return all
}

// serverArgs makes a redis.conf of the page command line arguments; its files are those of certs, its ports the test's.
func serverArgs(t *testing.T, text string, certs *servers.Certificates) (args []string) {
	t.Helper()
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		switch f[0] {
		case "port", "tls-port":
			continue
		case "tls-cert-file":
			f[1] = certs.ServerCert
		case "tls-key-file":
			f[1] = certs.ServerKey
		case "tls-ca-cert-file":
			f[1] = certs.CA
		}
		args = append(args, append([]string{"--" + f[0]}, f[1:]...)...)
	}
	return args
}

// settingsOf decodes a redis: block of the page, after some of its words were replaced. Each must be there.
func settingsOf(t *testing.T, text string, old ...string) pool.Config {
	t.Helper()
	for i := 0; i < len(old); i += 2 {
		if !strings.Contains(text, old[i]) {
			t.Fatalf("the block has no %s:\n%s", old[i], text)
		}
		text = strings.ReplaceAll(text, old[i], old[i+1])
	}
	var page struct {
		Redis pool.Config `yaml:"redis"`
	}
	if err := conf.Decode([]byte(text), &page); err != nil {
		t.Fatalf("%v:\n%s", err, text)
	}
	return page.Redis
}

// lbd is the user of the page's blocks, with every right: what rights it needs is shown elsewhere.
var lbd = []string{"--user", "lbd", "on", ">secret", "~*", "&*", "+@all"}

func TestPageServer(t *testing.T) {
	srv := serverstest.Redis(t, serverArgs(t, blocks(t, "conf", "maxmemory")[0], nil)...)
	castOf(t, pool.Config{URL: srv.URL()}).life(t)
}

func TestPageTLS(t *testing.T) {
	certs := serverstest.Certificates(t)
	srv := serverstest.RedisTLS(t, certs, append(serverArgs(t, blocks(t, "conf", "tls-port")[0], certs), lbd...)...)
	castOf(t, settingsOf(t, blocks(t, "yaml", "rediss://")[0], "127.0.0.1:6379", srv.Addr(), "/etc/lbd/redis.password", secretFile(t, "secret"),
		"/etc/lbd/ca.pem", certs.CA, "/etc/lbd/client.pem", certs.ClientCert, "/etc/lbd/client-key.pem", certs.ClientKey)).life(t)
}

func TestPageSentinel(t *testing.T) {
	s := serverstest.Sentinels(t, servers.SentinelOptions{
		Args:         append(serverArgs(t, blocks(t, "conf", "min-replicas-to-write")[0], nil), lbd...),
		SentinelConf: []string{strings.ReplaceAll(strings.TrimSpace(blocks(t, "acl", "+sentinel|")[0]), ">SECRET", ">secret")},
	})
	at := s.Addrs()
	castOf(t, settingsOf(t, blocks(t, "yaml", "sentinel:")[0], "127.0.0.1:26379", at[0], "127.0.0.1:26380", at[1], "127.0.0.1:26381", at[2],
		"/etc/lbd/redis.password", secretFile(t, "secret"), "/etc/lbd/sentinel.password", secretFile(t, "secret"))).life(t)
	for _, r := range s.Sentinels {
		if log, err := r.Do("ACL", "LOG"); err != nil || log != "" {
			t.Errorf("a Sentinel refused: %s, %v", log, err)
		}
	}
}

func TestPageCluster(t *testing.T) {
	c := serverstest.Cluster(t, nil)
	at := c.Addrs()
	castOf(t, settingsOf(t, blocks(t, "yaml", "cluster:")[0], "127.0.0.1:7001", at[0], "127.0.0.1:7002", at[1])).life(t)
}
