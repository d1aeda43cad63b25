package main

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/bazbeans/bazbeans/lbd/live"
	"github.com/bazbeans/bazbeans/lbd/live/lua"
	"github.com/bazbeans/bazbeans/lbd/live/names"
	"github.com/bazbeans/bazbeans/ngxconf"
)

// serverLine is a server in a file of lbd's: address, parameters. A block of the control server is none.
var serverLine = regexp.MustCompile(`(?m)^\s*server\s+([^\s;{]+)([^;]*);`)

// served lists the nodes in lbd's file, sorted, those marked down left out: those that an Nginx begins with that is
// started now. An address of none of them stands for itself.
func (s *Site) served() ([]string, error) {
	text, err := os.ReadFile(s.lb.file())
	if err != nil {
		return []string{}, err
	}
	ids := []string{}
	for _, m := range serverLine.FindAllStringSubmatch(string(text), -1) {
		if !slices.Contains(strings.Fields(m[2]), "down") {
			ids = append(ids, s.named(m[1]))
		}
	}
	slices.Sort(ids)
	upstreams, err := s.seeds(text)
	if err != nil || len(upstreams) == 0 {
		return ids, err
	}
	seeded := []string{}
	for _, p := range upstreams[0].Peers {
		if !p.Down && !p.Gone {
			seeded = append(seeded, s.named(p.Addr.String()))
		}
	}
	slices.Sort(seeded)
	if s.engine == byLua && !slices.Equal(ids, seeded) {
		err = fmt.Errorf("the server lines of %s have %s, the peers for Lua beside them %s", s.lb.file(), few(ids), few(seeded))
	}
	return seeded, err
}

// seeds are the peers for live engines in a text.
func (s *Site) seeds(text []byte) (upstreams []live.Upstream, err error) {
	switch s.engine {
	case byLua:
		_, upstreams, err = lua.Strip(text)
	case byResolve:
		_, upstreams, err = names.Strip(text)
	}
	return upstreams, err
}

// named is the node at an address.
func (s *Site) named(addr string) string {
	for _, n := range s.nodes {
		if n.app.Addr() == addr {
			return n.id
		}
	}
	return addr
}

// made is what lbd's file has from the pool: without the code of a live engine, and with the peers that it hides there.
func (s *Site) made() string {
	text, err := os.ReadFile(s.lb.file())
	s.must(err)
	upstreams, err := s.seeds(text)
	s.must(err)
	statements, err := ngxconf.Parse(text)
	s.must(err)
	var code []ngxconf.Statement
	var find func([]ngxconf.Statement)
	find = func(list []ngxconf.Statement) {
		for _, st := range list {
			if strings.HasSuffix(st.Name(), "_by_lua_block") {
				code = append(code, st)
			}
			find(st.Block)
		}
	}
	find(statements)
	for _, st := range slices.Backward(code) {
		text = slices.Delete(text, st.Start, st.End)
	}
	text = bytes.Replace(text, []byte("listen unix:"+s.lbd.socket()+";"), nil, 1)
	return string(text) + string(live.Message{Upstreams: upstreams}.Encode())
}

// socket is where Nginx listens for peers, with lua.
func (b *balancer) socket() string { return b.state() + "/live/control.sock" }
