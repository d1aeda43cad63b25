package render_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/bazbeans/bazbeans/render"
)

// checkView means 10.0.0.1 up, 10.0.0.2 down and the fallback 10.9.0.1.
func checkView(t testing.TB) render.View {
	u := upstream(t, "round_robin")
	u.Fallback = []netip.AddrPort{netip.MustParseAddrPort("10.9.0.1:80")}
	down := node("b", "10.0.0.2:80")
	down.Down = true
	return view(t, u, []render.Server{node("a", "10.0.0.1:80"), down}, "")
}

const (
	up   = "server 10.0.0.1:80;"
	down = "server 10.0.0.2:80 down;"
	last = "server 10.9.0.1:80 backup;"
	all  = up + down + last
)

func TestCheckTakes(t *testing.T) {
	for name, text := range map[string]string{
		"as meant":             "upstream app_backend {" + all + "}",
		"another order":        "upstream app_backend {" + last + down + up + "}",
		"quoted":               `"upstream" 'app_backend' { 'server' "10.0.0.1:80" "weight=5"; ` + down + last + "}",
		"a node as backup":     "upstream app_backend { server 10.0.0.1:80 backup;" + down + last + "}",
		"no other than backup": "upstream app_backend { server 10.0.0.1:80 backup; server 10.0.0.2:80 down backup; server 127.0.0.1:9 down;" + last + "}",
		"own weights":          "upstream app_backend { server 10.0.0.1:80 weight=9 max_fails=3 fail_timeout=1s max_conns=5 slow_start=3s route=a;" + down + last + "}",
		"two blocks":           "upstream app_backend {" + up + "} upstream other {" + down + last + "}",
		"one server in both":   "upstream app_backend {" + all + "} upstream canary {" + up + "}",
		"own placeholder":      "upstream app_backend {" + all + "} upstream canary { server 127.0.0.1:9 down; }",
		"directives":           "upstream app_backend { zone a 64k; least_conn; keepalive 8; keepalive_timeout 5s; " + all + "}",
		"map":                  "map $upstream_addr $node { hostnames; default -; 10.0.0.1:80 a; access_log b; js_x c; } upstream app_backend {" + all + "}",
		"server block":         "upstream app_backend {" + all + "} server { listen 80; access_log off; location / { proxy_pass http://app_backend; } }",
		"comments and newline": "# server 6.6.6.6:80;\nupstream app_backend {# }\n" + all + "}\n",
	} {
		if err := render.Check(checkView(t), []byte(text)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCheckRefuses(t *testing.T) {
	deep := strings.Repeat("a {", 1000) + strings.Repeat("}", 1000)
	for name, c := range map[string]struct{ text, want string }{
		"nothing":             {"", "no block `upstream app_backend`"},
		"another name":        {"upstream x {" + all + "}", "no block `upstream app_backend`"},
		"no Nginx":            {"upstream app_backend {" + all, "unexpected end of file"},
		"out of the block":    {"upstream app_backend {" + all + "}}", `unexpected "}"`},
		"one missing":         {"upstream app_backend {" + down + last + "}", "lacks `server 10.0.0.1:80`"},
		"fallback missing":    {"upstream app_backend {" + up + down + "}", "lacks `server 10.9.0.1:80 backup`"},
		"down one missing":    {"upstream app_backend {" + up + last + "}", "lacks `server 10.0.0.2:80 down`"},
		"one too many":        {"upstream app_backend {" + all + "server 10.0.0.3:80;}", `"server 10.0.0.3:80" is none of the servers`},
		"in another block":    {"upstream app_backend {" + all + "} upstream x { server 10.0.0.3:80; }", "is none of the servers"},
		"twice in a block":    {"upstream app_backend {" + all + up + "}", "more often than it was meant"},
		"another port":        {"upstream app_backend { server 10.0.0.1:81;" + down + last + "}", `"server 10.0.0.1:81" is none`},
		"no port":             {"upstream app_backend { server 10.0.0.1;" + down + last + "}", `"server 10.0.0.1" is none`},
		"a name":              {"upstream app_backend {" + all + "server example.com; }", "is none of the servers"},
		"a socket":            {"upstream app_backend {" + all + "server unix:/var/run/docker.sock; }", "is none of the servers"},
		"no address":          {"upstream app_backend {" + all + "server; }", "has no address"},
		"frozen but up":       {"upstream app_backend {" + up + "server 10.0.0.2:80;" + last + "}", "must be down"},
		"up but down":         {"upstream app_backend { server 10.0.0.1:80 down;" + down + last + "}", "must not be down"},
		"fallback at work":    {"upstream app_backend {" + up + down + "server 10.9.0.1:80;}", "must be backup"},
		"only backups":        {"upstream app_backend {" + up + down + "} upstream x {" + last + "}", "no backup, if only the placeholder"},
		"empty block":         {"upstream app_backend {" + all + "} upstream x { }", "no backup, if only the placeholder"},
		"placeholder up":      {"upstream app_backend {" + all + "server 127.0.0.1:9;}", "is none of the servers"},
		"unknown parameter":   {"upstream app_backend { server 10.0.0.1:80 resolve;" + down + last + "}", `unknown parameter "resolve"`},
		"drain is not down":   {"upstream app_backend {" + up + "server 10.0.0.2:80 drain;" + last + "}", `unknown parameter "drain"`},
		"include in upstream": {"upstream app_backend {" + all + "include /tmp/x; }", "has no place in an upstream"},
		"state in upstream":   {"upstream app_backend {" + all + "state /tmp/x; }", "has no place in an upstream"},
		"block in upstream":   {"upstream app_backend {" + all + "server { } }", "has no place in an upstream"},
		"lua in upstream":     {"upstream app_backend {" + all + "balancer_by_lua_block { x() } }", "has no place in an upstream"},
		"no upstream block":   {"upstream app_backend;", "is no upstream block"},
		"upstream of two":     {"upstream app_backend x {" + all + "}", "is no upstream block"},
		"upstream in a block": {"upstream app_backend {" + all + "} server { upstream x {} }", "stands inside another block"},
		"include":             {"upstream app_backend {" + all + "} include /etc/passwd;", "is not checked"},
		"quoted include":      {"upstream app_backend {" + all + "} \"include\" /etc/passwd;", "is not checked"},
		"include deep":        {"upstream app_backend {" + all + "} server { location / { include x; } }", "is not checked"},
		"include in a map":    {"upstream app_backend {" + all + "} map $a $b { include x; }", "is not checked"},
		"access_log":          {"upstream app_backend {" + all + "} access_log /etc/cron.d/x;", "makes files"},
		"error_log":           {"upstream app_backend {" + all + "} server { error_log /x; }", "makes files"},
		"cache path":          {"upstream app_backend {" + all + "} proxy_cache_path /x keys_zone=a:1m;", "makes files"},
		"temp path":           {"upstream app_backend {" + all + "} client_body_temp_path /x;", "makes files"},
		"module":              {"load_module x.so; upstream app_backend {" + all + "}", "runs code"},
		"engine":              {"ssl_engine x; upstream app_backend {" + all + "}", "runs code"},
		"lua":                 {"upstream app_backend {" + all + "} init_by_lua_block { os.execute('x') }", "runs code"},
		"lua in a location":   {"upstream app_backend {" + all + "} server { location / { content_by_lua 'x'; } }", "runs code"},
		"perl":                {"upstream app_backend {" + all + "} perl_modules x;", "runs code"},
		"njs":                 {"upstream app_backend {" + all + "} js_import x.js;", "runs code"},
		"nested without end":  {"upstream app_backend {" + all + "}" + deep, "nested too deep"},
	} {
		err := render.Check(checkView(t), []byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// Two nodes may share an address, and a node that of the fallback: each line counts.
func TestCheckCountsEqualAddresses(t *testing.T) {
	u := upstream(t, "round_robin")
	u.Fallback = []netip.AddrPort{netip.MustParseAddrPort("10.0.0.1:80")}
	v := view(t, u, []render.Server{node("a", "10.0.0.1:80"), node("b", "10.0.0.1:80")}, "")
	for text, want := range map[string]string{
		up + up + "server 10.0.0.1:80 backup;": "",
		up + "server 10.0.0.1:80 backup;":      "lacks",
		up + up + up + up:                      "more often",
	} {
		err := render.Check(v, []byte("upstream app_backend {"+text+"}"))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
