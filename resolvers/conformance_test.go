package resolvers_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
	"github.com/bazbeans/bazbeans/pool"
	"github.com/bazbeans/bazbeans/resolvers"
	"github.com/bazbeans/bazbeans/resolvers/resolvertest"
)

func at(addr string) resolvers.Endpoint { return resolvers.Endpoint{Addr: netip.MustParseAddr(addr)} }

func TestFuncConforms(t *testing.T) {
	look := func(ctx context.Context, nodes []pool.Node) (resolvers.Answers, error) {
		answers := resolvers.Answers{}
		for _, n := range nodes {
			switch n.ID {
			case "web1":
				answers[n.ID] = resolvers.Answer{Endpoint: at("10.0.1.10")}
			case "down":
				answers[n.ID] = resolvers.Answer{Err: errors.New("inventory: time-out")}
			case "local":
				answers[n.ID] = resolvers.Answer{Endpoint: at("127.0.0.1")}
			}
		}
		return answers, nil
	}
	resolvertest.Run(t, resolvertest.Case{
		New: func(testing.TB) resolvers.Resolver { return resolvers.Func(look) },
		Hang: func(testing.TB) resolvers.Resolver {
			return resolvers.Func(func(ctx context.Context, _ []pool.Node) (resolvers.Answers, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			})
		},
		Known: map[string]resolvers.Endpoint{"web1": at("10.0.1.10")}, NotMine: []string{"stranger"},
		CannotKnow: []string{"down"}, Refused: []string{"local"}, Shared: true,
	})
}

func TestStaticConforms(t *testing.T) {
	resolvertest.Run(t, resolvertest.Case{
		New: func(t testing.TB) resolvers.Resolver {
			s, err := resolvers.NewStatic(map[string]string{"web1": "10.0.1.10", "web2": "[fd00::2]:81", "local": "127.0.0.1"})
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
		Known:   map[string]resolvers.Endpoint{"web1": at("10.0.1.10"), "web2": {Addr: netip.MustParseAddr("fd00::2"), Port: 81}},
		NotMine: []string{"stranger"}, Refused: []string{"local"}, Shared: true,
	})
}

func TestStaticFileConforms(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nodes.yaml")
	write := func(t testing.TB, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(t, "web1: 10.0.1.10\nweb2: 10.0.1.11:81\nlocal: 169.254.169.254\n")
	resolvertest.Run(t, resolvertest.Case{
		New: func(t testing.TB) resolvers.Resolver {
			s, err := resolvers.NewStaticFile(path)
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
		Known:   map[string]resolvers.Endpoint{"web1": at("10.0.1.10"), "web2": {Addr: netip.MustParseAddr("10.0.1.11"), Port: 81}},
		NotMine: []string{"stranger"}, Refused: []string{"local"},
		Change: func(t testing.TB) map[string]resolvers.Endpoint {
			write(t, "web1: 10.0.1.99\nweb2: 10.0.1.11:81\n")
			return map[string]resolvers.Endpoint{"web1": at("10.0.1.99")}
		},
	})
}

// redisNode is a node as a look at the pool has it: ours has registered an address, the others are Python's.
func redisNode(id string) pool.Node {
	n := pool.Node{ID: id}
	if id == "ours" || id == "ours-without" {
		n.Agent = "1.0"
	}
	if id == "ours" {
		n.Address = netip.MustParseAddr("10.0.0.1")
	}
	return n
}

func TestRedisConforms(t *testing.T) {
	if testing.Short() {
		t.Skip("it needs redis-server")
	}
	p, rdb := openPool(t, serverstest.Redis(t).Addr())
	if err := rdb.HSet(t.Context(), "bazbeans:node_ips", "ours", "10.6.6.6", "py", "10.0.0.2", "bad", "unix:/var/run/docker.sock",
		"local", "127.0.0.1", "ours-without", "10.6.6.6").Err(); err != nil {
		t.Fatal(err)
	}
	silent := silentServer(t)
	resolvertest.Run(t, resolvertest.Case{
		New: func(testing.TB) resolvers.Resolver { return resolvers.NewRedis(p) },
		Hang: func(t testing.TB) resolvers.Resolver {
			p, _ := openPool(t, silent)
			return withPool{resolvers.NewRedis(p), p}
		},
		Known:   map[string]resolvers.Endpoint{"ours": at("10.0.0.1"), "py": at("10.0.0.2")},
		NotMine: []string{"stranger", "ours-without"}, Refused: []string{"bad", "local"},
		Node: redisNode, Shared: true,
		Change: func(t testing.TB) map[string]resolvers.Endpoint {
			if err := rdb.HSet(t.Context(), "bazbeans:node_ips", "py", "10.0.0.99").Err(); err != nil {
				t.Fatal(err)
			}
			return map[string]resolvers.Endpoint{"py": at("10.0.0.99")}
		},
	})
}

// withPool closes the pool, too, which holds goroutines and is the caller's.
type withPool struct {
	resolvers.Resolver
	p *pool.Pool
}

func (w withPool) Close() error { return w.p.Close() }

// silentServer takes connections and says nothing.
func silentServer(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() }) // connections wait in its queue
	return ln.Addr().String()
}

func openPool(t testing.TB, addr string) (*pool.Pool, *redis.Client) {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true, MaxRetries: -1})
	t.Cleanup(func() { _ = rdb.Close() }) // it may be closed already
	return pool.New(rdb, "", ""), rdb
}

// trips counts what goes to Redis and back.
type trips struct{ n int }

func (c *trips) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c *trips) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error { c.n++; return next(ctx, cmd) }
}

func (c *trips) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error { c.n++; return next(ctx, cmds) }
}

// fleet registers n nodes as the Python agent does.
func fleet(t testing.TB, rdb *redis.Client, n int) {
	t.Helper()
	pipe := rdb.Pipeline()
	for i := range n {
		id := fmt.Sprintf("dc1_server%05d", i)
		pipe.SAdd(t.Context(), "bazbeans:nodes:all", id)
		pipe.SAdd(t.Context(), "bazbeans:nodes:active", id)
		pipe.HSet(t.Context(), "bazbeans:node:"+id+":status", "status", "active", "is_frozen", "false", "is_active", "true")
		pipe.Set(t.Context(), "bazbeans:node:"+id+":heartbeat", `{"timestamp": 1700000000.5}`, 0)
		pipe.HSet(t.Context(), "bazbeans:node_ips", id, fmt.Sprintf("10.1.%d.%d", i/250, i%250+1))
	}
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestRedisNeedsThreeRoundTrips(t *testing.T) {
	if testing.Short() {
		t.Skip("it needs redis-server")
	}
	p, rdb := openPool(t, serverstest.Redis(t).Addr())
	fleet(t, rdb, 10_000)
	var c trips
	rdb.AddHook(&c)
	snap, err := p.Snapshot(t.Context())
	if err != nil || len(snap.Nodes) != 10_000 {
		t.Fatal(err)
	}
	answers, err := resolvers.NewRedis(p).Resolve(t.Context(), snap.Nodes)
	if err != nil || len(answers) != 10_000 {
		t.Fatalf("%d answers, %v", len(answers), err)
	}
	if c.n > 3 {
		t.Errorf("%d round trips for a look at 10,000 nodes and their addresses, want 3 at most", c.n)
	}
}
