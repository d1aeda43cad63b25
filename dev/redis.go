package dev

import (
	"context"
	"path/filepath"

	"github.com/alicebob/miniredis/v2"

	"github.com/bazbeans/bazbeans/dev/servers"
)

// startRedis starts one in this process, or a redis-server. stop ends it.
func startRedis(ctx context.Context, real bool, port int, dir string) (addr string, stop func() error, err error) {
	if real {
		r, err := servers.StartRedis(ctx, servers.RedisOptions{Dir: filepath.Join(dir, "redis"), Port: port})
		if err != nil {
			return "", nil, err
		}
		return r.Addr(), r.Stop, nil
	}
	m := miniredis.NewMiniRedis()
	m.ClockTTL(true) // else time stands still in it, and no heartbeat ever expires
	if err := m.StartAddr(servers.Loopback(port)); err != nil {
		return "", nil, err
	}
	return m.Addr(), func() error { m.Close(); return nil }, nil
}
