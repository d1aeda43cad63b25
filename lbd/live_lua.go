package lbd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/bazbeans/bazbeans/lbd/live"
	"github.com/bazbeans/bazbeans/lbd/live/lua"
	"github.com/bazbeans/bazbeans/lbd/nginx"
	"github.com/bazbeans/bazbeans/ngxconf"
	"github.com/bazbeans/bazbeans/render"
)

// luaSocket is where Nginx listens for peers.
func luaSocket(stateDir string) string { return filepath.Join(stateDir, "live", "control.sock") }

// luaKind is the live engine that is Lua inside Nginx.
type luaKind struct {
	nginx   *nginx.Nginx
	ours    []nginx.File // without their content
	options lua.Options
	client  *lua.Client // to the socket where it is now; nil: to be found
	aside   string

	// Of the message that was pushed last.
	sum  string
	keys map[string]map[int]live.Key // by upstream and slot
}

// newLuaKind looks at the operator's configuration for what does not go with it.
func newLuaKind(ctx context.Context, n *nginx.Nginx, cfg *Config) (*luaKind, error) {
	socket := luaSocket(cfg.StateDir)
	if err := lua.CheckSocket(socket); err != nil {
		return nil, err
	}
	k := &luaKind{options: lua.Options{Socket: socket}, aside: filepath.Join(filepath.Dir(socket), "live.sock"), nginx: n}
	for _, u := range cfg.Upstreams {
		k.ours = append(k.ours, nginx.File{Path: u.Output})
	}
	var err error
	k.options, err = k.inspect(ctx)
	return k, err
}

// inspect looks at the operator's configuration for what does not go with ours; o says what it leaves to us.
func (k *luaKind) inspect(ctx context.Context) (o lua.Options, err error) {
	o = lua.Options{Socket: k.options.Socket, Init: true}
	site, err := k.nginx.Inspect(ctx, k.ours)
	if err != nil {
		return o, err
	}
	var other string
	site.Each(func(d *nginx.Directive) {
		switch name := strings.TrimSuffix(strings.TrimSuffix(d.Name, "_block"), "_file"); {
		case d.Ours:
		case name == codeCache && d.Arg(0) == "off" && other == "":
			other = fmt.Sprintf("%s:%d: with %s off each request would begin the worker's counts anew", d.File, d.Line, codeCache)
		case name == "init_by_lua":
			o.Init = false
		case name != "log_by_lua":
		case callsDone(d, site.Prefix):
			o.OwnLog = o.OwnLog || d.Parent != nil && d.Parent.Name == "http"
		case other == "":
			other = fmt.Sprintf("%s:%d: this %s would replace ours, and requests would not be counted (see docs/live-lua.md for the line that ends it)", d.File, d.Line, d.Name)
		}
	})
	if other != "" {
		return o, fmt.Errorf("%w: %s", errOtherLua, other)
	}
	return o, nil
}

func (k *luaKind) fits(ctx context.Context) error {
	now, err := k.inspect(ctx)
	switch {
	case err == nil && k.options.Init && !now.Init:
		return errors.New("there is an init_by_lua of the operator's now")
	case err == nil && k.options.OwnLog && !now.OwnLog:
		return errors.New("the operator's log_by_lua at the http level, which ended our counts, is not there any more")
	case err == nil && !k.options.OwnLog && now.OwnLog:
		return errors.New("there is a log_by_lua of the operator's at the http level now")
	case errors.Is(err, errOtherLua):
		return err
	}
	return nil // what can't be seen now was right before
}

// errNoLua is wrapped when Nginx does not know the directives of its Lua module.
var errNoLua = errors.New("no Lua module is loaded: install libnginx-mod-http-lua (Debian, Ubuntu) or nginx-mod-http-lua (Alpine), or name the module with load_module")

// errOtherLua is wrapped when the operator's Lua code is in the way of ours.
var errOtherLua = errors.New("the operator's own Lua")

// codeCache, where it is off, has Nginx load all Lua code for each request, ours too.
const codeCache = "lua_code_cache"

// callsDone reports whether an operator's own log_by_lua ends our counts, too.
func callsDone(d *nginx.Directive, prefix string) bool {
	code := []byte(d.Lua)
	switch d.Name {
	case "log_by_lua":
		code = []byte(d.Arg(0))
	case "log_by_lua_file":
		file := d.Arg(0)
		if !filepath.IsAbs(file) {
			file = filepath.Join(prefix, file)
		}
		code, _ = os.ReadFile(file) // what can't be read does not end them, as far as we know
	}
	return bytes.Contains(ngxconf.LuaCode(code), []byte(lua.Global))
}

func (k *luaKind) name() string                               { return "lua" }
func (k *luaKind) lines() bool                                { return true }
func (k *luaKind) common() string                             { return lua.Common(k.options) }
func (k *luaKind) bridge([]nginx.File, []string) []nginx.File { return nil }
func (k *luaKind) close()                                     {}

func (k *luaKind) start() error { return k.ready() }

// ready makes the folder of the control socket: Nginx makes its sockets for everybody to write to, and the folder keeps
// everybody out.
func (k *luaKind) ready() error {
	dir := filepath.Dir(k.options.Socket)
	if err := errors.Join(os.MkdirAll(dir, 0o700), os.Chmod(dir, 0o700)); err != nil {
		return fmt.Errorf("make the folder of the control socket: %w", err)
	}
	return nil
}

func (k *luaKind) view(v *render.View) error {
	list := peers(v)
	if err := ringFits(v.Balance, list); err != nil {
		return err
	}
	seed := live.Message{Upstreams: []live.Upstream{{Name: v.Name, Peers: list}}}
	method := v.Balance
	if method == "" {
		method = "round_robin"
	}
	v.Live = strings.TrimRight(lua.Balancer(v.Name, method, string(seed.Encode())), "\n")
	v.Balance = "" // what is left to Nginx when the Lua code can't do it
	v.ZoneSize = roomy(len(v.Servers))
	return nil
}

// ringWeight is how much weight the Lua code's consistent hash takes: RING_POINTS of src/50_ring.lua, 160 for each unit.
const ringWeight = 1048576 / 160

func ringFits(balance string, list []live.Peer) error {
	if !strings.HasSuffix(balance, " consistent") {
		return nil
	}
	total := 0
	for _, p := range list {
		if !p.Backup {
			total += p.Weight
		}
	}
	if total > ringWeight {
		return fmt.Errorf("its weights add up to %d, and %s is live up to %d: divide them all by one number", total, balance, ringWeight)
	}
	return nil
}

// roomy is a zone for n servers in which more will have room: another size is another structure.
func roomy(n int) string { return render.ZoneSize(max(4*n, 512)) }

func (k *luaKind) strip(text []byte) ([]byte, []live.Upstream, error) { return lua.Strip(text) }

func (k *luaKind) reached() { k.client = nil }

func (k *luaKind) giveBack() {
	k.client = nil
	_ = k.ready() // what keeps it from being made Nginx's test says
	if deaf(k.aside) {
		_ = os.Remove(k.aside) // Nginx has ended: where it is expected it would be in the way of the next one
	}
	if !k.options.Init && deaf(k.options.Socket) {
		_ = os.Remove(k.options.Socket) // nobody else does
	}
	if _, err := os.Lstat(k.options.Socket); errors.Is(err, os.ErrNotExist) {
		_ = os.Rename(k.aside, k.options.Socket) // without it Nginx complains, and does as it is told
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	switch err := k.leads(ctx, lua.NewClient(k.options.Socket)); {
	case !errors.Is(err, errStranger): // or nobody, which Nginx sees to when it starts
	case k.leads(ctx, lua.NewClient(k.aside)) == nil:
		_ = os.Rename(k.aside, k.options.Socket)
	default:
		_ = os.Remove(k.options.Socket) // Nginx could not listen there
	}
}

// deaf reports whether there is a socket at which nobody listens.
func deaf(path string) bool {
	c, err := net.Dial("unix", path)
	if err == nil {
		c.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// reach finds the control server. Nginx binds the socket's path when it starts; we move the socket aside at once, where it
// works as before, so that the path is free for Nginx's next start, however this one ends. What answers at the path may be
// another Nginx with the same files: it does not get the place of the one that is kept.
func (k *luaKind) reach(ctx context.Context) (*lua.Client, error) {
	if k.client != nil {
		return k.client, nil
	}
	client := lua.NewClient(k.aside)
	err := k.leads(ctx, client)
	if err != nil && k.leads(ctx, lua.NewClient(k.options.Socket)) == nil {
		if err := os.Rename(k.options.Socket, k.aside); err != nil {
			return nil, fmt.Errorf("move the control socket aside: %w", err)
		}
		err = k.leads(ctx, client)
	}
	if err != nil {
		return nil, errors.Join(err, k.ready()) // without its folder no test of Nginx passes, an operator's neither
	}
	k.client = client
	return client, nil
}

// leads returns nil when the client leads to the Nginx that is kept.
func (k *luaKind) leads(ctx context.Context, client *lua.Client) error {
	is, err := client.State(ctx)
	if err != nil {
		return err
	}
	s, err := k.nginx.State(ctx)
	if err != nil {
		return err
	}
	workers := []int{}
	for _, w := range is.Workers {
		workers = append(workers, w.PID)
	}
	_, err = ended(workers, s.Master)
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
	k.sum, k.keys = m.Sum, map[string]map[int]live.Key{}
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
	s := live.State{Busy: map[live.Key]int{}, Generation: is.Generation, Workers: []int{}, Lost: k.sum != "" && k.sum != is.Sum}
	for _, w := range is.Workers {
		if w.Error != "" && w.Exiting {
			continue // it may have more under way than it says: who waits, waits for its end
		}
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
