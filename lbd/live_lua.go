package lbd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/bazbeans/bazbeans/lbd/live"
	"github.com/bazbeans/bazbeans/lbd/live/lua"
	"github.com/bazbeans/bazbeans/lbd/nginx"
	"github.com/bazbeans/bazbeans/render"
)

// luaSocket is where Nginx listens for peers.
func luaSocket(stateDir string) string { return filepath.Join(stateDir, "live", "control.sock") }

// luaKind is the live engine that is Lua inside Nginx.
type luaKind struct {
	options lua.Options
	client  *lua.Client // to the socket where it is now; nil: to be found
	aside   string

	keys map[string]map[int]live.Key // by upstream and slot, as pushed last
}

// newLuaKind looks at the operator's configuration for what does not go with it.
func newLuaKind(ctx context.Context, n *nginx.Nginx, cfg *Config) (*luaKind, error) {
	socket := luaSocket(cfg.StateDir)
	if err := lua.CheckSocket(socket); err != nil {
		return nil, err
	}
	// Nginx makes its sockets for everybody to write to: the folder keeps everybody out.
	dir := filepath.Dir(socket)
	if err := errors.Join(os.MkdirAll(dir, 0o700), os.Chmod(dir, 0o700)); err != nil {
		return nil, fmt.Errorf("make the folder of the control socket: %w", err)
	}
	var ours []nginx.File
	for _, u := range cfg.Upstreams {
		ours = append(ours, nginx.File{Path: u.Output})
	}
	site, err := n.Inspect(ctx, ours)
	if err != nil {
		return nil, err
	}
	k := &luaKind{options: lua.Options{Socket: socket, Init: true}, aside: filepath.Join(dir, "live.sock")}
	var other string
	site.Each(func(d *nginx.Directive) {
		switch name := strings.TrimSuffix(strings.TrimSuffix(d.Name, "_block"), "_file"); {
		case d.Ours:
		case name == "init_by_lua":
			k.options.Init = false
		case name == "log_by_lua" && other == "" && !callsDone(d):
			other = fmt.Sprintf("%s:%d: this %s would replace ours, and requests would not be counted (see docs/live-lua.md for the line that ends it)", d.File, d.Line, d.Name)
		}
	})
	if other != "" {
		return nil, errors.New(other)
	}
	return k, nil
}

// callsDone reports whether an operator's own log_by_lua_block ends our counts, too.
func callsDone(d *nginx.Directive) bool {
	text, err := os.ReadFile(d.File)
	return err == nil && d.Name == "log_by_lua_block" && strings.Contains(string(text), lua.Global)
}

func (k *luaKind) name() string                               { return "lua" }
func (k *luaKind) common() string                             { return lua.Common(k.options) }
func (k *luaKind) bridge([]nginx.File, []string) []nginx.File { return nil }
func (k *luaKind) start() error                               { return nil }
func (k *luaKind) close()                                     {}

func (k *luaKind) view(v *render.View) error {
	seed := live.Message{Upstreams: []live.Upstream{{Name: v.Name, Peers: peers(v)}}}
	method := v.Balance
	if method == "" {
		method = "round_robin"
	}
	v.Live = strings.TrimRight(lua.Balancer(v.Name, method, string(seed.Encode())), "\n")
	v.Balance = "" // what is left to Nginx when the Lua code can't do it
	v.ZoneSize = roomy(len(v.Servers))
	return nil
}

// roomy is a zone for n servers in which more will have room: another size is another structure.
func roomy(n int) string { return render.ZoneSize(max(4*n, 512)) }

func (k *luaKind) strip(text []byte) ([]byte, []live.Upstream, error) { return lua.Strip(text) }

func (k *luaKind) reached() { k.client = nil }

func (k *luaKind) giveBack() {
	k.client = nil
	if _, err := os.Lstat(k.options.Socket); errors.Is(err, os.ErrNotExist) {
		_ = os.Rename(k.aside, k.options.Socket) // without it Nginx complains, and does as it is told
	}
}

// reach finds the control server. Nginx binds the socket's path when it starts; we move the socket aside at once, where it
// works as before, so that the path is free for Nginx's next start, however this one ends.
func (k *luaKind) reach(ctx context.Context) (*lua.Client, error) {
	if k.client != nil {
		return k.client, nil
	}
	if fresh := lua.NewClient(k.options.Socket); answers(ctx, fresh) == nil {
		if err := os.Rename(k.options.Socket, k.aside); err != nil {
			return nil, fmt.Errorf("move the control socket aside: %w", err)
		}
	}
	client := lua.NewClient(k.aside)
	if err := answers(ctx, client); err != nil {
		return nil, err
	}
	k.client = client
	return client, nil
}

func answers(ctx context.Context, c *lua.Client) error {
	_, err := c.State(ctx)
	return err
}

// Push implements live.Channel.
func (k *luaKind) Push(ctx context.Context, m live.Message) error {
	client, err := k.reach(ctx)
	if err != nil {
		return err
	}
	if err := client.Put(ctx, m.Encode()); err != nil {
		return err
	}
	k.know(m)
	return nil
}

func (k *luaKind) know(m live.Message) {
	k.keys = map[string]map[int]live.Key{}
	for _, u := range m.Upstreams {
		k.keys[u.Name] = map[int]live.Key{}
		for _, p := range u.Peers {
			k.keys[u.Name][p.Slot] = p.Key(u.Name)
		}
	}
}

// Current implements live.Channel.
func (k *luaKind) Current(ctx context.Context) (live.Message, bool, error) {
	client, err := k.reach(ctx)
	if err != nil {
		return live.Message{}, false, err
	}
	text, ok, err := client.Get(ctx)
	if err != nil || !ok {
		return live.Message{}, false, err
	}
	m, err := live.Decode(text)
	if err == nil {
		k.know(m)
	}
	return m, err == nil, err
}

// State implements live.Channel.
func (k *luaKind) State(ctx context.Context) (live.State, error) {
	client, err := k.reach(ctx)
	if err != nil {
		return live.State{}, err
	}
	is, err := client.State(ctx)
	if err != nil {
		k.client = nil
		return live.State{}, err
	}
	s := live.State{Busy: map[live.Key]int{}, Generation: is.Generation, Workers: []int{}}
	for _, w := range is.Workers {
		s.Workers = append(s.Workers, w.PID)
		if w.Error != "" {
			s.Trouble = fmt.Sprintf("nginx worker %d: %s", w.PID, w.Error)
		}
		for name, counts := range w.Busy {
			for slot, n := range counts {
				key, known := k.keys[name][slot]
				if !known {
					s.Pending = fmt.Sprintf("nginx worker %d has %d requests under way on peers of upstream %s that lbd has not told it of", w.PID, n, name)
					s.Generation = 0
					continue
				}
				s.Busy[key] += n
			}
		}
	}
	return s, nil
}

// Forget implements live.Channel.
func (k *luaKind) Forget(ctx context.Context, workers []int) error {
	client, err := k.reach(ctx)
	if err != nil {
		return err
	}
	return client.Forget(ctx, workers)
}
