package lbd

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/bazbeans/bazbeans/lbd/live"
	"github.com/bazbeans/bazbeans/lbd/nginx"
	"github.com/bazbeans/bazbeans/ngxconf"
	"github.com/bazbeans/bazbeans/render"
)

// pieces are output files taken apart: the peers of live upstreams, and all else, which only a reload changes.
type pieces struct {
	hash      string // of the plan that they are of
	structure string // a digest
	upstreams []live.Upstream
	sum       string // of the upstreams
}

func (p pieces) live() bool { return len(p.upstreams) > 0 }

func (p pieces) names() (names []string) {
	for _, u := range p.upstreams {
		names = append(names, u.Name)
	}
	return names
}

// cut takes a plan's files apart.
func (e *liveEngine) cut(p *Plan) (pieces, error) {
	if e.about.hash == p.hash && p.hash != "" {
		return e.about, nil
	}
	is, err := e.pieces(e.OnDisk(p.Files))
	if err != nil {
		return is, err
	}
	is.hash = p.hash
	e.about = is
	return is, nil
}

func (e *liveEngine) pieces(files []nginx.File) (is pieces, err error) {
	structure := sha256.New()
	for _, f := range files {
		rest, upstreams, err := e.kind.strip(f.Data)
		if err != nil {
			return is, fmt.Errorf("%s: %w", f.Path, err)
		}
		statements, err := ngxconf.Parse(rest)
		if err != nil {
			return is, fmt.Errorf("%s: %w", f.Path, err)
		}
		live := map[string]bool{}
		for _, u := range upstreams {
			live[u.Name] = true
		}
		fmt.Fprintf(structure, "%d %s %t\n", len(f.Path), f.Path, f.Remove)
		writeStructure(structure, rest, statements, live, false)
		is.upstreams = append(is.upstreams, upstreams...)
	}
	is.structure = hex.EncodeToString(structure.Sum(nil))
	is.sum = sumOf(is.upstreams)
	return is, nil
}

// writeStructure writes statements without comments and layout, and without the servers of live upstreams.
func writeStructure(w interface{ Write([]byte) (int, error) }, text []byte, list []ngxconf.Statement, live map[string]bool, inLive bool) {
	for i := range list {
		s := &list[i]
		if inLive && s.Name() == "server" {
			continue
		}
		for _, word := range s.Words {
			fmt.Fprintf(w, "%q ", word.Text)
		}
		switch {
		case !s.HasBlock:
			fmt.Fprint(w, ";\n")
		case strings.HasSuffix(s.Name(), "_by_lua_block"):
			fmt.Fprintf(w, "%q\n", text[s.Words[len(s.Words)-1].End:s.End])
		default:
			fmt.Fprint(w, "{\n")
			writeStructure(w, text, s.Block, live, s.Name() == "upstream" && len(s.Words) == 2 && live[s.Words[1].Text])
			fmt.Fprint(w, "}\n")
		}
	}
}

// sumOf names the content of upstreams.
func sumOf(upstreams []live.Upstream) string {
	sum := sha256.Sum256(live.Message{Upstreams: upstreams}.Encode())
	return hex.EncodeToString(sum[:16])
}

// peers are the servers of a view in the form of the live engines; the placeholder is none.
func peers(v *render.View) []live.Peer {
	var list []live.Peer
	timeout, _ := time.ParseDuration(v.FailTimeout) // it is of NewView's making, as are the addresses
	for _, s := range v.Servers {
		if s.ID == "" && !s.Backup {
			continue
		}
		addr, _ := netip.ParseAddrPort(s.Addr)
		list = append(list, live.Peer{Slot: len(list), ID: s.ID, Addr: addr, Weight: s.Weight, MaxFails: v.MaxFails, FailTimeout: timeout,
			MaxConns: v.MaxConns, Down: s.Down, Backup: s.Backup})
	}
	return list
}
