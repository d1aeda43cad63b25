package lbd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/bazbeans/bazbeans/lbd/live"
	"github.com/bazbeans/bazbeans/lbd/live/names"
	"github.com/bazbeans/bazbeans/lbd/nginx"
	"github.com/bazbeans/bazbeans/render"
)

// namesKind is the live engine in which Nginx asks lbd by DNS who its peers are.
type namesKind struct {
	addr  netip.AddrPort
	nginx *nginx.Nginx
	log   *slog.Logger

	zone  *names.Zone // nil: not started
	end   func()
	done  sync.WaitGroup
	ended atomic.Pointer[error] // why no question is answered any more
	last  live.Message
	path  string // of last, for the next lbd: nobody else knows peers that are gone and have connections
}

func newNamesKind(ctx context.Context, n *nginx.Nginx, cfg *Config, log *slog.Logger) (*namesKind, error) {
	site, err := n.Inspect(ctx, nil)
	if err != nil {
		return nil, err
	}
	if err := names.Supported(dotted(site.Version)); err != nil {
		return nil, err
	}
	addr, err := netip.ParseAddrPort(cfg.Nginx.Names)
	if err != nil {
		return nil, fmt.Errorf("nginx.names: %w", err)
	}
	return &namesKind{addr: addr, nginx: n, log: log, path: filepath.Join(cfg.StateDir, "resolve.peers")}, nil
}

func (k *namesKind) name() string   { return "resolve" }
func (k *namesKind) common() string { return "" }
func (k *namesKind) lines() bool    { return false } // the one line says how to ask, and what holds for all peers
func (k *namesKind) ready() error   { return nil }
func (k *namesKind) reached()       {}
func (k *namesKind) giveBack()      {}

func (k *namesKind) fits(context.Context) error { return nil }

// start answers Nginx's questions until close.
func (k *namesKind) start() (err error) {
	if k.zone, err = names.Listen(k.addr, k.log); err != nil {
		return fmt.Errorf("%w (choose another nginx.names)", err)
	}
	if text, err := os.ReadFile(k.path); err == nil {
		if m, err := live.Decode(text); err == nil {
			for _, u := range m.Upstreams {
				for i := range u.Peers {
					u.Peers[i].Gone = true // until they are wanted; nobody keeps one without connections
				}
			}
			k.last.Upstreams = m.Upstreams
		}
	}
	ctx, end := context.WithCancel(context.Background())
	k.end = end
	k.done.Go(func() {
		if err := k.zone.Run(ctx); err != nil && ctx.Err() == nil {
			err = fmt.Errorf("nginx's questions are not answered any more: %w", err)
			k.ended.Store(&err)
		}
	})
	return nil
}

// answers returns why no question is answered any more.
func (k *namesKind) answers() error {
	if err := k.ended.Load(); err != nil {
		return *err
	}
	return nil
}

func (k *namesKind) close() {
	if k.end != nil {
		k.end()
		k.done.Wait()
	}
}

func (k *namesKind) view(v *render.View) error {
	list := peers(v)
	if err := names.SupportedBalance(v.Balance); err != nil {
		return err
	}
	if err := names.Fits(answerable(live.Upstream{Name: v.Name, Peers: list})); err != nil {
		return err
	}
	v.ZoneSize = roomy(len(v.Servers))
	v.Live = names.Block(k.addr, live.Upstream{Name: v.Name, Peers: list})
	host, params, _ := strings.Cut(names.Server(v.Name), " ")
	params = " " + params
	for _, p := range []struct {
		is   bool
		text string
	}{
		{v.MaxFails != 1, fmt.Sprintf(" max_fails=%d", v.MaxFails)},
		{v.FailTimeout != "10s", " fail_timeout=" + v.FailTimeout},
		{v.MaxConns != 0, fmt.Sprintf(" max_conns=%d", v.MaxConns)},
	} {
		if p.is {
			params += p.text
		}
	}
	v.Servers = []render.Line{{Addr: host, Host: host, Weight: 1, Params: params}}
	v.Nodes, v.Placeholder = nil, false
	return nil
}

// answerable are the peers of u that Nginx is told.
func answerable(u live.Upstream) names.Upstream {
	set := names.Upstream{Name: u.Name}
	for _, p := range u.Peers {
		if !p.Down && !p.Gone {
			set.Peers = append(set.Peers, names.Peer{Addr: p.Addr, Weight: p.Weight, Backup: p.Backup})
		}
	}
	return set
}

// bridge puts server lines beside the names that Nginx does not know yet: it looks them up only when it runs them, and
// takes what it knows over a reload.
func (k *namesKind) bridge(files []nginx.File, runs []string) []nginx.File {
	files = slices.Clone(files)
	found := false
	for i, f := range files {
		_, upstreams, err := names.Strip(f.Data)
		if err != nil {
			return nil // nobody could have come here with such a file
		}
		for _, u := range upstreams {
			if slices.Contains(runs, u.Name) || !slices.ContainsFunc(u.Peers, func(p live.Peer) bool { return !p.Down }) {
				continue
			}
			found = true
			host, _, _ := strings.Cut(names.Server(u.Name), " ")
			line := []byte("server " + host + " ")
			files[i].Data = bytes.Replace(files[i].Data, line, slices.Concat(serverLines(u), []byte(bridgeMark+"\n    "), line), 1)
		}
	}
	if !found {
		return nil
	}
	return files
}

func serverLines(u live.Upstream) (text []byte) {
	for _, p := range u.Peers {
		if p.Down {
			continue
		}
		text = fmt.Appendf(text, "server %s weight=%d max_fails=%d fail_timeout=%ds max_conns=%d", p.Addr, p.Weight, p.MaxFails, int(p.FailTimeout.Seconds()), p.MaxConns)
		if p.Backup {
			text = append(text, " backup"...)
		}
		text = append(text, ";\n    "...)
	}
	return text
}

func (k *namesKind) strip(text []byte) ([]byte, []live.Upstream, error) { return names.Strip(text) }

// Push implements live.Channel.
func (k *namesKind) Push(ctx context.Context, m live.Message) error {
	if err := k.answers(); err != nil {
		return err
	}
	if s, err := k.nginx.State(ctx); err == nil && !s.Up() {
		return errors.New("nginx is not running: nobody asks")
	}
	var upstreams []names.Upstream
	for _, u := range m.Upstreams {
		if !u.Former { // for others Nginx keeps what it has
			upstreams = append(upstreams, answerable(u))
		}
	}
	if err := k.zone.Set(m.Generation, upstreams); err != nil {
		return err
	}
	// Not before: Nginx need not wait for a disk, and who is taken out stands in the file already.
	if err := writeState(k.path, m.Encode()); err != nil { // for people it is said where generations can't be kept
		k.log.Debug("peers can't be written down", "error", err)
	}
	k.last = m
	return nil
}

// Current implements live.Channel.
func (k *namesKind) Current(context.Context) (live.Message, bool, error) {
	return k.last, k.last.Upstreams != nil, k.answers()
}

// State implements live.Channel. Nginx does not tell requests: connections to a peer stand for them. They are counted once
// for a peer of several upstreams.
func (k *namesKind) State(ctx context.Context) (live.State, error) {
	if err := k.answers(); err != nil {
		return live.State{}, err
	}
	is, err := k.nginx.State(ctx)
	if err != nil {
		return live.State{}, err
	}
	keys := map[netip.AddrPort]live.Key{}
	var addrs []netip.AddrPort
	for _, u := range k.last.Upstreams {
		for _, p := range u.Peers {
			key, seen := keys[p.Addr]
			if !seen {
				addrs = append(addrs, p.Addr)
			}
			if !seen || key.ID == "" {
				keys[p.Addr] = p.Key(u.Name)
			}
		}
	}
	counts, err := names.Connections(is.Users, addrs...)
	if err != nil {
		return live.State{}, err
	}
	s := live.State{Busy: map[live.Key]int{}}
	s.Generation, s.Pending = k.zone.Settled()
	for addr, n := range counts {
		if n > 0 {
			s.Busy[keys[addr]] = n
		}
	}
	return s, nil
}

// Forget implements live.Channel.
func (k *namesKind) Forget(context.Context, []int) error { return nil }

// makeKind makes a live engine of a name, and says why this Nginx can't have it.
func (l *LB) makeKind(ctx context.Context, name string) (liveKind, error) {
	switch name {
	case "lua":
		k, err := newLuaKind(ctx, l.nginx, &l.cfg)
		if err != nil {
			return nil, err // not a nil *luaKind
		}
		return k, nil
	case "resolve":
		k, err := newNamesKind(ctx, l.nginx, &l.cfg, l.log)
		if err != nil {
			return nil, err
		}
		return k, nil
	}
	return nil, fmt.Errorf("there is no live engine %s", strings.ToLower(name))
}
