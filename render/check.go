package render

import (
	"fmt"
	"slices"
	"strings"

	"github.com/bazbeans/bazbeans/ngxconf"
)

// Check reads rendered text again, by Nginx's own token rules, and returns an error unless it holds what v means:
//
//   - an upstream block of the view's name;
//   - over all upstream blocks every server of v.Servers, and no other; in one block none more often than in v;
//   - `down` on exactly those that are Down, and `backup` on every fallback (a template may give a node `backup`);
//   - in each block a server that is no backup; the placeholder, marked down, is welcome in any;
//   - in a server line no parameter but those of serverParams, in an upstream block no directive but upstreamDirectives;
//   - nowhere a directive that makes the mere test of a configuration read, write or run something else (see forbidden).
//
// Anything else, like a map or a server block, is the template author's affair: templates are trusted, data is not.
// Weights are not compared, so that a template may choose its own.
func Check(v View, rendered []byte) error {
	statements, err := ngxconf.Parse(rendered)
	if err != nil {
		return fmt.Errorf("parse output: %w", err)
	}
	c := newChecker(v)
	for _, s := range statements {
		if s.Name() == "upstream" {
			err = c.upstream(s)
		} else {
			err = allowed(s, 0)
		}
		if err != nil {
			return err
		}
	}
	return c.complete()
}

// What may stand in an upstream block, up to Nginx 1.31 and Nginx Plus; `state` is missing, since it names a file
// with other servers.
// Source: https://nginx.org/en/docs/http/ngx_http_upstream_module.html
var (
	upstreamDirectives = []string{"server", "zone", "hash", "ip_hash", "least_conn", "least_time", "random", "keepalive",
		"keepalive_requests", "keepalive_time", "keepalive_timeout", "ntlm", "queue", "sticky", "resolver", "resolver_timeout"}
	serverParams = []string{"weight", "max_conns", "max_fails", "fail_timeout", "slow_start", "route", "backup", "down"}
	liveParams   = []string{"resolve", "service"} // of live views alone
)

// entry is a server line as far as Check compares it.
type entry struct {
	addr string
	down bool
}

var placeholder = entry{Placeholder, true}

// checker counts the server lines of all upstream blocks.
type checker struct {
	view    View
	meant   map[entry]int
	primary map[string]bool // addresses that may stand without `backup`
	found   map[entry]int
	lines   map[string]bool // what stands behind `server`; of live views alone
	named   bool            // the view's own upstream block was there
}

func newChecker(v View) *checker {
	c := &checker{view: v, meant: map[entry]int{}, primary: map[string]bool{}, found: map[entry]int{}}
	if v.Live != "" {
		c.lines = map[string]bool{Placeholder + " down": true}
	}
	for _, s := range v.Servers {
		if c.lines != nil {
			c.lines[s.Addr+s.Params] = true
		}
		c.meant[entry{s.Addr, s.Down}]++
		c.primary[s.Addr] = c.primary[s.Addr] || !s.Backup
	}
	return c
}

// upstream checks one upstream block.
func (c *checker) upstream(u ngxconf.Statement) error {
	if len(u.Words) != 2 || !u.HasBlock {
		return refuse(u, "is no upstream block")
	}
	c.named = c.named || u.Words[1].Text == c.view.Name
	here := map[entry]int{}
	primary := false
	for _, s := range u.Block {
		if s.HasBlock || !slices.Contains(upstreamDirectives, s.Name()) {
			return refuse(s, "has no place in an upstream block")
		}
		if s.Name() != "server" {
			continue
		}
		e, backup, err := c.server(s)
		if err != nil {
			return err
		}
		if c.view.Live != "" && !c.asMeant(s) {
			return fmt.Errorf("line %d of the output: %w", s.Line, &NotLive{"it writes server lines of its own"})
		}
		primary = primary || !backup
		if here[e]++; here[e] > c.meant[e] && e != placeholder {
			return refuse(s, "stands there more often than it was meant")
		}
		c.found[e]++
	}
	if !primary {
		return refuse(u, "needs a server that is no backup, if only the placeholder")
	}
	return nil
}

// asMeant reports whether a server line is one of the view's, word for word.
func (c *checker) asMeant(s ngxconf.Statement) bool {
	words := make([]string, len(s.Words)-1)
	for i, w := range s.Words[1:] {
		words[i] = w.Text
	}
	line := strings.Join(words, " ")
	return c.lines[line]
}

// server checks one server line of an upstream block.
func (c *checker) server(s ngxconf.Statement) (e entry, backup bool, err error) {
	if len(s.Words) < 2 {
		return e, false, refuse(s, "has no address")
	}
	e.addr = s.Words[1].Text
	for _, w := range s.Words[2:] {
		name, _, _ := strings.Cut(w.Text, "=")
		if !slices.Contains(serverParams, name) && !(c.view.Live != "" && slices.Contains(liveParams, name)) {
			return e, backup, refuse(s, fmt.Sprintf("has the unknown parameter %.80q", w.Text))
		}
		e.down = e.down || w.Text == "down"
		backup = backup || w.Text == "backup"
	}
	other := entry{e.addr, !e.down}
	switch {
	case e == placeholder:
	case c.meant[e] == 0 && c.meant[other] == 0:
		return e, backup, refuse(s, "is none of the servers that were meant")
	case c.meant[e] == 0 && e.down:
		return e, backup, refuse(s, "must not be down")
	case c.meant[e] == 0:
		return e, backup, refuse(s, "must be down")
	case !backup && !c.primary[e.addr]:
		return e, backup, refuse(s, "must be backup: it is a fallback")
	}
	return e, backup, nil
}

// complete reports what should have been there and was not.
func (c *checker) complete() error {
	if !c.named {
		return fmt.Errorf("the output has no block `upstream %s`", c.view.Name)
	}
	for _, s := range c.view.Servers {
		if e := (entry{s.Addr, s.Down}); c.found[e] < c.meant[e] {
			return fmt.Errorf("the output lacks `server %s%s`", s.Addr, s.Params)
		}
	}
	return nil
}

// valueBlocks hold a list of values: the first word of an entry is no directive, unless it is `include`.
var valueBlocks = []string{"map", "geo", "split_clients", "types", "charset_map"}

// forbidden says why a directive has no place in rendered text: Nginx acts on it, with the rights of its master,
// as soon as it tests the configuration. Such lines belong into the operator's own files. It is the wall behind the
// wall: nothing of the data can become a directive unless a template prints it in the first place of a statement.
func forbidden(s ngxconf.Statement) string {
	const code, files = "runs code that it names", "makes files or folders"
	switch name := s.Name(); {
	case name == "upstream":
		return "stands inside another block"
	case name == "include":
		return "reads a file that is not checked"
	case name == "access_log" && len(s.Words) == 2 && s.Words[1].Text == "off":
		return ""
	case name == "access_log", name == "error_log", strings.HasSuffix(name, "_temp_path"), strings.HasSuffix(name, "_cache_path"):
		return files
	case name == "load_module", name == "ssl_engine", strings.Contains(name, "_by_lua"):
		return code
	}
	for _, prefix := range []string{"perl", "lua_", "js_", "modsecurity"} {
		if strings.HasPrefix(s.Name(), prefix) {
			return code
		}
	}
	return ""
}

// maxDepth is how deep blocks may be nested; Nginx's own deepest use of them is about five.
const maxDepth = 16

// allowed checks a statement that is no upstream block, and all below it.
func allowed(s ngxconf.Statement, depth int) error {
	if why := forbidden(s); why != "" {
		return refuse(s, why)
	}
	if depth == maxDepth {
		return refuse(s, "is nested too deep")
	}
	values := slices.Contains(valueBlocks, s.Name())
	for _, inner := range s.Block {
		if values && inner.Name() != "include" && !inner.HasBlock {
			continue
		}
		if err := allowed(inner, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// refuse names the line of the output and shows its statement, since nobody will see a refused file.
func refuse(s ngxconf.Statement, why string) error {
	text := make([]string, len(s.Words))
	for i, w := range s.Words {
		text[i] = w.Text
	}
	return fmt.Errorf("line %d of the output: %.120q %s", s.Line, strings.Join(text, " "), why)
}
