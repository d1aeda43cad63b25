package lbd

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bazbeans/bazbeans/lbd/nginx"
)

// What a zone costs in Nginx's shared memory, with all parameters and IPv6: TestWhatAServerCostsInAZone holds these
// figures against the Nginx of the machine.
const (
	zoneBase   = 20 << 10
	zoneServer = 860
)

// checkTemplates tries each upstream's template on a made-up node: those of the pool may not show what is wrong.
func (d *doctor) checkTemplates(context.Context) {
	if err := d.l.TemplateError(); err != nil {
		d.add(finding{Code: "templates", Level: levelProblem, What: err.Error(),
			Means: "lbd goes on with the built-in template, or the one that was proven before."})
	}
	f := &facts{at: time.Now()}
	for i := range 3 {
		n, err := fixtureNode{NodeStatus: NodeStatus{ID: fmt.Sprintf("doctor%d", i), Address: fmt.Sprintf("192.0.2.%d", i+1), Port: 8000}}.fact()
		if err == nil {
			f.nodes = append(f.nodes, n)
		}
	}
	for _, u := range d.l.upstreams {
		free := *u // no selection, no memory: every node gets in
		free.Select, free.PortFrom = Select{}, "config"
		want, _ := free.want(f, &listeners{}, map[string]uint16{})
		_, empty := d.l.render(u, nil, d.l.templates)
		_, full := d.l.render(u, want, d.l.templates)
		for _, err := range []error{full, empty} {
			if err != nil {
				d.add(finding{Code: "templates", Level: levelProblem, What: fmt.Sprintf("upstream %s: %v", u.Name, err),
					Means: "Nothing can be written with this template; see docs/templates.md."})
				break
			}
		}
		if full == nil && empty == nil {
			d.ok("templates", "%s renders upstream %s, with nodes and without", u.Template, u.Name)
		}
	}
}

// checkUpstreams looks at the upstream blocks as Nginx would read them.
func (d *doctor) checkUpstreams(context.Context) {
	if d.site == nil {
		return
	}
	for _, u := range d.l.upstreams {
		for _, b := range d.site.Named("upstream") {
			if b.Arg(0) != u.Name || !slices.Equal(b.Context(), nginx.Context{"http"}) {
				continue
			}
			if b.Ours {
				d.checkZone(u, b)
				continue
			}
			d.add(finding{Code: "upstream-twice", Level: levelProblem, What: fmt.Sprintf("upstream %s stands in %s line %d, too", u.Name, b.File, b.Line),
				Means: "Nginx refuses two upstreams of one name, so nothing lbd writes passes the test: take that block away, or name lbd's another way.",
				Where: inConfig, Fix: fmt.Sprintf("upstreams:\n  - name: %s_nodes\n    output: %s\n# and proxy_pass http://%s_nodes; where it shall be used", u.Name, u.Output, u.Name)})
		}
	}
}

func (d *doctor) checkZone(u *upstream, block *nginx.Directive) {
	var size, servers int
	for _, s := range block.Block {
		switch s.Name {
		case "zone":
			size = bytesOf(s.Arg(1))
		case "server":
			servers++
		}
	}
	const line = "zone {{.Name}} {{.ZoneSize}};"
	where := fmt.Sprintf("in the template %s inside `upstream`", filepath.Join(d.l.cfg.Templates, u.Template))
	need := func(n int) int { return zoneBase + n*zoneServer }
	switch {
	case size == 0:
		d.add(finding{Code: "upstream-zone", Level: levelWarning, What: fmt.Sprintf("upstream %s has no zone", u.Name),
			Means: "Each worker counts failures and connections for itself: a dead node is tried by each of them, and max_conns and least_conn are per worker.",
			Where: where, Fix: line})
	case size < need(servers):
		d.add(finding{Code: "zone-size", Level: levelProblem, What: fmt.Sprintf("the zone of upstream %s has %d KiB for %d server(s), which need up to %d", u.Name, size>>10, servers, need(servers)>>10),
			Means: "When a zone is full Nginx refuses the configuration: no more nodes can come.", Where: where, Fix: line})
	case size < need(2*servers):
		d.add(finding{Code: "zone-size", Level: levelWarning, What: fmt.Sprintf("the zone of upstream %s has %d KiB for %d server(s)", u.Name, size>>10, servers),
			Means: "It would not hold twice as many.", Where: where, Fix: line})
	default:
		d.ok("zone-size", "upstream %s: %d KiB for %d server(s)", u.Name, size>>10, servers)
	}
}

// bytesOf reads a size as Nginx does; 0 when it is none.
func bytesOf(text string) int {
	unit := 1
	switch {
	case strings.HasSuffix(strings.ToLower(text), "k"):
		unit = 1 << 10
	case strings.HasSuffix(strings.ToLower(text), "m"):
		unit = 1 << 20
	}
	n, _ := strconv.Atoi(strings.TrimRight(text, "kKmM"))
	return n * unit
}

// passes are the directives that send requests to an upstream.
var passes = []string{"proxy_pass", "grpc_pass", "fastcgi_pass", "uwsgi_pass", "scgi_pass", "memcached_pass"}

var target = regexp.MustCompile(`^(?:[a-z]+://)?([^/:]*)`)

// checkProxying looks at how the operator's servers use our upstreams.
func (d *doctor) checkProxying(context.Context) {
	if d.site == nil {
		return
	}
	for _, u := range d.l.upstreams {
		var uses []*nginx.Directive
		variable := false
		d.site.Each(func(s *nginx.Directive) {
			if slices.Contains(passes, s.Name) && s.Within("http") {
				host := target.FindStringSubmatch(s.Arg(0))[1]
				if host == u.Name {
					uses = append(uses, s)
				}
				variable = variable || strings.Contains(host, "$")
			}
		})
		switch {
		case len(uses) > 0:
			d.ok("upstream-used", "upstream %s: %s line %d", u.Name, uses[0].File, uses[0].Line)
		case variable:
			d.add(finding{Code: "upstream-used", Level: levelNote, What: "no server names upstream " + u.Name + ", but some take a name from a variable",
				Means: "Whether they mean this one can't be known here."})
		default:
			d.add(finding{Code: "upstream-used", Level: levelWarning, What: "no server uses upstream " + u.Name,
				Means: "lbd keeps it in step, and no request ever goes there.", Where: "in the location of yours that it is for",
				Fix: "proxy_pass http://" + u.Name + ";"})
		}
		d.checkProxyLines(u, uses)
	}
}

// checkProxyLines looks at what holds at each proxy_pass to an upstream, each place once.
func (d *doctor) checkProxyLines(u *upstream, uses []*nginx.Directive) {
	const most = 5 // of a kind: a site may have a hundred locations
	said, count := map[finding]bool{}, map[string]int{}
	once := func(f finding) {
		key := finding{Code: f.Code, Where: f.Where, Fix: f.Fix}
		if said[key] {
			return
		}
		said[key] = true
		if count[f.Code]++; count[f.Code] <= most {
			d.add(f)
		}
	}
	for _, use := range uses {
		if use.Name != "proxy_pass" {
			continue
		}
		at := fmt.Sprintf("%s line %d", use.File, use.Line)
		if u.Keepalive > 0 {
			d.checkKeepalive(at, use, once)
		}
		for _, next := range d.site.Holding(use, "proxy_next_upstream") {
			if slices.Contains(next.Args, "off") {
				once(finding{Code: "next-upstream", Level: levelWarning, What: fmt.Sprintf("%s: proxy_next_upstream off", at),
					Means: "A request that meets a node just dead fails, instead of going to the next.",
					Where: instead(next), Fix: "proxy_next_upstream error timeout;"})
			} else if slices.Contains(next.Args, "non_idempotent") {
				rest := slices.DeleteFunc(slices.Clone(next.Args), func(a string) bool { return a == "non_idempotent" })
				once(finding{Code: "next-upstream", Level: levelWarning, What: fmt.Sprintf("%s: %s", at, next),
					Means: "A POST whose node fails in the middle is sent again, and may be done twice.",
					Where: instead(next), Fix: strings.Join(append([]string{"proxy_next_upstream"}, rest...), " ") + ";"})
			}
		}
		timeouts := d.site.Holding(use, "proxy_connect_timeout")
		const slow = 10 * time.Second
		switch {
		case timeouts == nil:
			once(finding{Code: "connect-timeout", Level: levelNote, What: at + ": proxy_connect_timeout is not set: 60s",
				Means: "When a node's whole machine vanishes nothing answers, and each request to it waits that long before the next node is tried.",
				Where: inside(d.http()), Fix: "proxy_connect_timeout 3s;"})
		case durationOf(timeouts[0].Arg(0)) > slow:
			once(finding{Code: "connect-timeout", Level: levelNote, What: fmt.Sprintf("%s: %s", at, timeouts[0]),
				Means: "When a node's whole machine vanishes each request to it waits that long before the next node is tried.",
				Where: instead(timeouts[0]), Fix: "proxy_connect_timeout 3s;"})
		}
	}
	for _, code := range slices.Sorted(maps.Keys(count)) {
		if more := count[code] - most; more > 0 {
			d.add(finding{Code: code, Level: levelNote, What: fmt.Sprintf("and the same at %d more places", more)})
		}
	}
}

// checkKeepalive looks for the two lines without which older versions close each connection to a node after a request.
func (d *doctor) checkKeepalive(at string, use *nginx.Directive, once func(finding)) {
	const means = "The upstream's keepalive has no effect: each request opens a connection to its node."
	given := d.site.Version >= keepaliveGiven
	block := use.Parent
	for block.Name == "if" || block.Name == "limit_except" { // the lines may not stand there
		block = block.Parent
	}
	versions := d.site.Holding(use, "proxy_http_version")
	switch {
	case versions == nil && !given:
		once(finding{Code: "upstream-keepalive", Level: levelWarning, What: at + ": proxy_http_version is not set: 1.0", Means: means,
			Where: inside(block), Fix: "proxy_http_version 1.1;"})
	case versions != nil && versions[0].Arg(0) == "1.0":
		once(finding{Code: "upstream-keepalive", Level: levelWarning, What: at + ": proxy_http_version 1.0", Means: means,
			Where: instead(versions[0]), Fix: "proxy_http_version 1.1;"})
	}
	headers := d.site.Holding(use, "proxy_set_header")
	i := slices.IndexFunc(headers, func(h *nginx.Directive) bool { return strings.EqualFold(h.Arg(0), "Connection") })
	const line = `proxy_set_header Connection "";`
	switch {
	case i >= 0 && strings.EqualFold(headers[i].Arg(1), "close"):
		once(finding{Code: "upstream-keepalive", Level: levelWarning, What: fmt.Sprintf("%s: %s", at, headers[i]), Means: means,
			Where: instead(headers[i]), Fix: line})
	case i < 0 && !given:
		if len(headers) > 0 { // a line in an inner block would undo all of the outer one's
			block = headers[0].Parent
		}
		once(finding{Code: "upstream-keepalive", Level: levelWarning, What: at + ": the header Connection is not set: close", Means: means,
			Where: inside(block), Fix: line})
	}
}

// durationOf reads a time as Nginx does, as far as one would write for a timeout; 0 when it is none.
func durationOf(text string) time.Duration {
	unit := time.Second
	for _, u := range []struct {
		suffix string
		is     time.Duration
	}{{"ms", time.Millisecond}, {"s", time.Second}, {"m", time.Minute}, {"h", time.Hour}} {
		if strings.HasSuffix(text, u.suffix) {
			text, unit = strings.TrimSuffix(text, u.suffix), u.is
			break
		}
	}
	n, _ := strconv.Atoi(text)
	return time.Duration(n) * unit
}
