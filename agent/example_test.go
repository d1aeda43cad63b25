package agent_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os/signal"
	"syscall"

	"github.com/bazbeans/bazbeans/agent"
	"github.com/bazbeans/bazbeans/pool"
)

// An agent of your own: bbagent with a health check and a command.
func Example() {
	cfg := agent.Defaults()
	cfg.Redis.URL = "redis://redis.internal:6379/0"
	cfg.NodeID = "web1"
	a, err := agent.New(cfg)
	if err != nil {
		log.Fatal(err)
	}
	a.HealthCheck("app", func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:8000/health", nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("health answers %s", resp.Status)
		}
		return nil
	})
	a.Handle("clear_cache", func(ctx context.Context, c pool.Command) (any, error) {
		return map[string]string{"cleared": c.Text("name")}, nil
	})
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := a.Run(ctx); err != nil {
		log.Print(err)
	}
}
