package lbd

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
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
		if err == nil {
			err = e.structure(structure, rest, upstreams)
		}
		if err != nil {
			return is, fmt.Errorf("%s: %w", f.Path, err)
		}
		fmt.Fprintf(structure, "%d %s %t\n", len(f.Path), f.Path, f.Remove)
		is.upstreams = append(is.upstreams, upstreams...)
	}
	is.structure = hex.EncodeToString(structure.Sum(nil))
	is.sum = sumOf(is.upstreams)
	return is, nil
}

// structure writes a digest of the structure of text, whose live upstreams are these. Most of a text is Lua, which takes a
// millisecond to read: a text that differs from one read before in server lines alone is not read again.
func (e *liveEngine) structure(w io.Writer, text []byte, upstreams []live.Upstream) error {
	live := map[string]bool{}
	for _, u := range upstreams {
		live[u.Name] = true
	}
	key, known := skeleton(text, live)
	known = known && e.kind.lines()
	digest, read := e.read[key]
	if !known || !read {
		statements, err := ngxconf.Parse(text)
		if err != nil {
			return err
		}
		whole := sha256.New()
		noLines := live
		if !e.kind.lines() {
			noLines = nil
		}
		writeStructure(whole, text, statements, noLines, false)
		digest = [sha256.Size]byte(whole.Sum(nil))
		if len(e.read) > 64 || e.read == nil {
			e.read = map[[sha256.Size]byte][sha256.Size]byte{}
		}
		if known {
			e.read[key] = digest
		}
	}
	_, err := w.Write(digest[:])
	return err
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
