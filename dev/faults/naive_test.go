package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/bazbeans/bazbeans/lbd"
	"github.com/bazbeans/bazbeans/pool"
)

// naive is an lbd as it is written in an afternoon, so that rows can be shown to fail: it believes whatever Redis says,
// has no memory and no guard, and says of itself that all is well. Its flaw, if it has one, comes on top.
type naive struct {
	flaw   string
	pool   *pool.Pool
	output string
	pid    string

	last  []netip.AddrPort // what it saw
	whole bool             // all nodes were there once: from then on it has its flaw
}

// Flaws of a naive lbd.
const (
	empties  = "empties"  // a change empties the upstream
	idles    = "idles"    // nothing is applied any more once all nodes are there
	flickers = "flickers" // each change passes through an upstream without a living server
	adds     = "adds"     // each change puts in a server that is no node's
)

// naiveBin makes a folder of binaries with a naive lbd in it: this test binary by another name.
func naiveBin(dir, flaw string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if err := os.Symlink(self, filepath.Join(dir, "lbd")); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "flaw"), []byte(flaw), 0o600)
}

// runNaive is main of a naive lbd: `lbd run --config FILE`.
func runNaive() error {
	flaw, err := os.ReadFile(filepath.Join(filepath.Dir(os.Args[0]), "flaw"))
	if err != nil {
		return err
	}
	text, err := os.ReadFile(os.Args[3])
	if err != nil {
		return err
	}
	var cfg struct {
		Redis     pool.Config               `yaml:"redis"`
		Nginx     struct{ PID string }      `yaml:"nginx"`
		Upstreams []struct{ Output string } `yaml:"upstreams"`
		Status    struct{ Listen string }   `yaml:"status"`
	}
	if err := yaml.Unmarshal(text, &cfg); err != nil {
		return err
	}
	n := &naive{flaw: string(flaw), output: cfg.Upstreams[0].Output, pid: cfg.Nginx.PID}
	if n.pool, err = pool.Open(cfg.Redis); err != nil {
		return err
	}
	go http.ListenAndServe(cfg.Status.Listen, http.HandlerFunc(n.boast))
	for {
		if snap, err := n.pool.Snapshot(context.Background()); err == nil {
			if err := n.apply(snap); err != nil {
				return err
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// boast answers /status and /readyz: all is applied, whatever happened.
func (n *naive) boast(w http.ResponseWriter, _ *http.Request) {
	now := time.Now()
	json.NewEncoder(w).Encode(lbd.Status{Wanted: 1, Written: 1, Running: 1, Redis: lbd.RedisStatus{Connected: true, LastLook: &now}, Engine: lbd.EngineStatus{Name: byReload}})
}

func (n *naive) apply(snap *pool.Snapshot) error {
	var want []netip.AddrPort
	for i := range snap.Nodes {
		if node := &snap.Nodes[i]; node.Wanted() {
			want = append(want, netip.AddrPortFrom(node.Address, node.Port))
		}
	}
	if slices.Equal(want, n.last) {
		return nil
	}
	n.whole = n.whole || len(n.last) == testNodes
	n.last = want
	nobody := netip.MustParseAddrPort("127.0.0.66:66")
	if n.whole {
		switch n.flaw {
		case idles:
			return nil
		case empties:
			want = []netip.AddrPort{nobody}
		case adds:
			want = append(want, nobody)
		case flickers:
			if err := n.put(nobody); err != nil {
				return err
			}
			time.Sleep(300 * time.Millisecond)
		}
	}
	return n.put(want...)
}

// put writes the upstream and reloads.
func (n *naive) put(servers ...netip.AddrPort) error {
	var text strings.Builder
	text.WriteString("upstream app_backend {\n    zone app_backend 256k;\n")
	for _, at := range servers {
		fmt.Fprintf(&text, "    server %s;\n", at)
	}
	if len(servers) == 0 {
		text.WriteString("    server 127.0.0.1:9 down;\n") // Nginx wants one
	}
	if err := os.WriteFile(n.output, []byte(text.String()+"}\n"), 0o644); err != nil {
		return err
	}
	pid, err := os.ReadFile(n.pid)
	if err != nil {
		return err
	}
	master, err := strconv.Atoi(strings.TrimSpace(string(pid)))
	if err != nil {
		return err
	}
	return syscall.Kill(master, syscall.SIGHUP)
}
