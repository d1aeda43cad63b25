package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bazbeans/bazbeans/dev/servers"
	"github.com/bazbeans/bazbeans/ngxconf"
)

// traffic has Nginx test the outputs and sends requests through it.
func (p *play) traffic(ctx context.Context, r *runner, n *Nginx, results []Result) error {
	s := &site{nginx: n, dir: r.folder(), modules: n.modules(p.engine), include: r.opt.Include}
	for i, u := range p.upstreams {
		port, err := servers.FreePort()
		if err != nil {
			return err
		}
		s.routes = append(s.routes, route{servers.Loopback(port), u.Name})
		s.outputs = append(s.outputs, output{fmt.Sprintf("output%d.conf", i+1), p.text(i)})
	}
	warnings, err := s.test(ctx)
	var refused *refusal
	if errors.As(err, &refused) {
		for i := range results {
			results[i].Went = "refused by Nginx"
		}
		return p.refusedByNginx(n, s, refused)
	} else if err != nil {
		return err
	}
	for _, w := range warnings {
		r.warn(n, w, p)
	}
	scene := p.scene()
	moved, err := r.backends.prepare(scene)
	if err != nil {
		return err
	}
	if len(moved) > 0 && p.engine != engineReload {
		for i := range results {
			results[i].Went = "not sent: Lua needs nodes at their own addresses"
		}
		return nil
	}
	for i := range s.outputs {
		s.outputs[i].text = move(s.outputs[i].text, moved)
	}
	if len(moved) > 0 {
		if _, err := s.test(ctx); err != nil {
			return fmt.Errorf("with addresses of this host in place of the nodes': %w", err)
		}
	}
	running, err := s.start(ctx)
	if err != nil {
		return fmt.Errorf("nginx %s passed its test but does not start: %w", n.Version, err)
	}
	for i := range p.upstreams {
		if !p.whole() {
			break
		}
		want := p.want(i)
		sending := p.send
		if sending.Requests == 0 {
			sending.Requests = p.enough(i)
		}
		got := send(ctx, "http://"+s.routes[i].listen, sending, scene)
		results[i].Requests, results[i].Went = got.requests+sending.Together, summary(got)
		results[i].Nodes = got.went
		for _, fault := range want.unmet(got) {
			results[i].fail(fault)
		}
	}
	if err := running.Stop(); err != nil {
		return err
	}
	return ctx.Err()
}

// refusedByNginx reports the output that Nginx names.
func (p *play) refusedByNginx(n *Nginx, s *site, refused *refusal) error {
	i := slices.IndexFunc(s.outputs, func(o output) bool { return o.name == refused.file })
	line := refused.line
	if i < 0 {
		i, line = 0, 0
	}
	u := p.upstreams[i]
	f := newFault(p.made.Templates, p.made.Views[u.Name], u, true)
	// What a live engine needs beside the template's output stands above that, behind the first line.
	if above := bytes.Count(s.outputs[i].text, []byte("\n")) - len(f.trace.Lines); line > above+1 {
		line -= above
	}
	f.byNginx(n, strings.ReplaceAll(refused.said, s.outputs[i].name, filepath.Base(u.Output)), line)
	return errors.New(f.String())
}

// move replaces addresses in a text, wherever they are words of the configuration.
func move(text []byte, moved map[netip.AddrPort]netip.AddrPort) []byte {
	if len(moved) == 0 {
		return text
	}
	var out []byte
	done := 0
	for lexer := ngxconf.NewLexer(text); ; {
		t, err := lexer.Next()
		if err != nil { // the end; the text was read before
			break
		}
		if t.Kind != ngxconf.Word {
			continue
		}
		if at, err := netip.ParseAddrPort(t.Text); err == nil {
			if to, ok := moved[at]; ok {
				out = append(append(out, text[done:t.Start]...), to.String()...)
				done = t.End
			}
		}
	}
	return append(out, text[done:]...)
}
