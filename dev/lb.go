package dev

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	"github.com/bazbeans/bazbeans/dev/servers"
	"github.com/bazbeans/bazbeans/lbd"
	"github.com/bazbeans/bazbeans/pool"
)

func (s *Site) startLBD(ctx context.Context) error {
	cfg := lbd.DefaultConfig()
	cfg.ID = "lb1"
	cfg.Redis.URL = s.RedisURL()
	cfg.Nginx.Binary, cfg.Nginx.Prefix, cfg.Nginx.Conf, cfg.Nginx.PID = s.nginx.Binary, s.nginx.Prefix, s.nginx.Conf, s.nginx.PIDFile
	cfg.Templates = "" // the built-in ones, whatever /etc/lbd holds
	cfg.Upstreams = []lbd.UpstreamConfig{{Name: "app_backend", Template: "upstream.conf.tmpl", Output: filepath.Join(s.nginx.Prefix, "conf.d/upstream.conf"),
		Port: 8000, PortFrom: "node", Balance: "least_conn", Keepalive: 32, Server: lbd.ServerConfig{MaxFails: 1, FailTimeout: 10 * time.Second}}}
	cfg.AllowNetworks = []string{"127.0.0.0/8"}
	cfg.StateDir = filepath.Join(s.dir, "lbd")
	cfg.Status.Listen = servers.Loopback(s.opts.StatusPort)
	if s.opts.LBD != nil {
		s.opts.LBD(&cfg)
	}
	lb, err := lbd.New(cfg, s.opts.Log)
	if err != nil {
		return fmt.Errorf("make lbd: %w", err)
	}
	s.release("status-port")
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := lb.Run(ctx); err != nil {
			s.failed <- fmt.Errorf("lbd ended: %w", err)
		}
	}()
	s.atClose(func() error {
		stop()
		<-ended
		s.client.CloseIdleConnections()
		return lb.Close()
	})
	return nil
}

// LBStatus is lbd's own word on itself, from its /status.
func (s *Site) LBStatus(ctx context.Context) (lbd.Status, error) {
	var st lbd.Status
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+servers.Loopback(s.opts.StatusPort)+"/status", nil)
	if err != nil {
		return st, err
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return st, fmt.Errorf("ask lbd for its status: %w", err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&st); err != nil {
		return st, fmt.Errorf("read lbd's status: %w", err)
	}
	return st, nil
}

// served returns nil once Nginx is proven to serve every node.
func (s *Site) served(ctx context.Context) error {
	st, err := s.LBStatus(ctx)
	if err != nil {
		return err
	}
	if st.Nginx.Master != s.nginx.Master() {
		return errors.New("lbd has not found its nginx") // or another lbd answers
	}
	if len(st.Problems) > 0 {
		return errors.New(st.Problems[0])
	}
	in := serving(&st)
	for _, n := range st.Nodes {
		if !in[n.ID] {
			return fmt.Errorf("lbd leaves %s out: %s %s", n.ID, n.State, n.Why)
		}
	}
	if len(in) < len(s.nodes) {
		return fmt.Errorf("lbd knows of %d nodes", len(in))
	}
	return nil
}

// serving are the nodes that lbd wants in Nginx.
func serving(s *lbd.Status) map[string]bool {
	in := map[string]bool{}
	for _, n := range s.Nodes {
		if n.State == string(pool.Active) && n.Weight > 0 || n.Held {
			in[n.ID] = true
		}
	}
	return in
}
