package dev

import (
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/bazbeans/bazbeans/dev/servers"
	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
)

func TestTimePassesInEmbeddedRedis(t *testing.T) {
	port, err := servers.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	addr, stop, err := startRedis(t.Context(), false, port, "")
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	rdb := redis.NewClient(&redis.Options{Addr: addr})
	defer rdb.Close()
	began := time.Now()
	const ttl = 200 * time.Millisecond
	if err := rdb.Set(t.Context(), "k", "v", ttl).Err(); err != nil {
		t.Fatal(err)
	}
	serverstest.Eventually(t, time.Minute, func() error {
		if rdb.Exists(t.Context(), "k").Val() == 1 {
			return errors.New("the key is there")
		}
		return nil
	})
	if lived := time.Since(began); lived < ttl {
		t.Errorf("a key with a TTL of %v was gone after %v", ttl, lived)
	}
}
