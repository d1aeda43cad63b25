package lbd

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"slices"
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
	beside    bool   // other text sends to their peers, too, or to servers that none of them has
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
	elsewhere := map[netip.AddrPort]bool{}
	for _, f := range files {
		rest, upstreams, err := e.kind.strip(f.Data)
		var r reading
		if err == nil {
			r, err = e.structure(rest, upstreams)
		}
		if err != nil {
			return is, fmt.Errorf("%s: %w", f.Path, err)
		}
		structure.Write(r.digest[:])
		fmt.Fprintf(structure, "%d %s %t\n", len(f.Path), f.Path, f.Remove)
		is.upstreams = append(is.upstreams, upstreams...)
		is.beside = is.beside || r.others
		for _, a := range r.elsewhere {
			elsewhere[a] = true
		}
	}
	for _, u := range is.upstreams {
		is.beside = is.beside || len(elsewhere) > 0 && slices.ContainsFunc(u.Peers, func(p live.Peer) bool { return elsewhere[p.Addr] })
	}
	is.structure = hex.EncodeToString(structure.Sum(nil))
	is.sum = sumOf(is.upstreams)
	return is, nil
}

// reading is what a text says besides the peers of its live upstreams.
type reading struct {
	digest    [sha256.Size]byte // of its structure
	elsewhere []netip.AddrPort  // the addresses with a port that stand in it
	others    bool              // it has upstreams with servers that are not live
}

// structure reads text, whose live upstreams are these. Most of a text is Lua, which takes a millisecond to read: a text that
// differs from one read before in server lines alone is not read again.
func (e *liveEngine) structure(text []byte, upstreams []live.Upstream) (reading, error) {
	live := map[string]bool{}
	for _, u := range upstreams {
		live[u.Name] = true
	}
	key, known := skeleton(text, live)
	known = known && e.kind.lines()
	r, read := e.read[key]
	if known && read {
		return r, nil
	}
	statements, err := ngxconf.Parse(text)
	if err != nil {
		return r, err
	}
	whole := sha256.New()
	noLines := live
	if !e.kind.lines() {
		noLines = nil
	}
	writeStructure(whole, text, statements, noLines, false)
	r = reading{digest: [sha256.Size]byte(whole.Sum(nil))}
	r.look(text, statements, live)
	if len(e.read) > 64 || e.read == nil {
		e.read = map[[sha256.Size]byte]reading{}
	}
	if known {
		e.read[key] = r
	}
	return r, nil
}

// address is an IP address with a port, or what looks like one.
var address = regexp.MustCompile(`[0-9]+(?:\.[0-9]+){3}:[0-9]+|\[[0-9a-fA-F:.]+\]:[0-9]+`)

// look notes what sends to servers by another way than the live upstreams.
func (r *reading) look(text []byte, list []ngxconf.Statement, live map[string]bool) {
	for i := range list {
		s := &list[i]
		named := s.Name() == "upstream" && s.HasBlock && len(s.Words) == 2
		if named && live[s.Words[1].Text] {
			continue
		}
		if named {
			r.others = r.others || slices.ContainsFunc(s.Block, func(in ngxconf.Statement) bool { return in.Name() == "server" })
		}
		end := s.End
		if s.HasBlock && !strings.HasSuffix(s.Name(), "_by_lua_block") { // what is in the block comes below
			end = s.Words[len(s.Words)-1].End
		}
		for _, a := range address.FindAll(text[s.Start:end], -1) {
			if addr, err := netip.ParseAddrPort(string(a)); err == nil {
				r.elsewhere = append(r.elsewhere, addr)
			}
		}
		r.look(text, s.Block, live)
	}
}

// skeleton is a digest of text without its server lines; ok is false where some of these may be of an upstream that is not
// live.
func skeleton(text []byte, live map[string]bool) (digest [sha256.Size]byte, ok bool) {
	rest := make([]byte, 0, len(text))
	for line := range bytes.Lines(text) {
		word := bytes.TrimLeft(line, " \t")
		if bytes.HasPrefix(word, []byte("server ")) && bytes.Count(word, []byte(";")) == 1 && !bytes.ContainsAny(word, "{}\"'\\") {
			continue
		}
		rest = append(rest, line...)
	}
	return sha256.Sum256(rest), upstreamBlocks(text) == len(live)
}

// upstreamBlocks counts what looks like the begin of an upstream block, and may count too many.
func upstreamBlocks(text []byte) (n int) {
	const space = " \t\r\n"
	for {
		_, after, found := bytes.Cut(text, []byte("upstream"))
		if !found {
			return n
		}
		text = after
		name := bytes.TrimLeft(after, space)
		end := bytes.IndexAny(name, space+"{")
		if len(name) == len(after) || end < 0 {
			continue
		}
		if next := bytes.TrimLeft(name[end:], space); name[0] == '#' || bytes.HasPrefix(next, []byte("{")) {
			n++
		}
	}
}

// writeStructure writes statements without comments and layout, and without the servers of live upstreams.
func writeStructure(w io.Writer, text []byte, list []ngxconf.Statement, live map[string]bool, inLive bool) {
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
