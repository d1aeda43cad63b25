package lua

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/bazbeans/bazbeans/lbd/live"
)

// DictName is the shared dictionary that the configuration has to have; the
// number is the version of what is in it.
const DictName = "bazbeans_1"

// DictSize is its size. It never changes: at a reload with another size Nginx
// would make it anew and the peers in it would be lost.
const DictSize = "16m"

// CellsName and CellsSize are of the zone whose memory holds the counts of
// requests under way and tells of changes; its first half is Nginx's own, see
// src/20_shared.lua.
const (
	CellsName = "bazbeans_cells_1"
	CellsSize = "4m"
)

// Global is the key of package.loaded under which an operator's own
// log_by_lua finds the code, see docs/live-lua.md.
const Global = "bazbeans.live"

//go:embed src/*.lua
var files embed.FS

//go:embed init.lua
var initSource string

// source is the whole code as one chunk, and id tells it from others. It is key
// in package.loaded, and what each request calls stands there besides. Globals
// would be found faster, but some operators' Lua forbids new ones.
var (
	source, id = load()
	key        = Global + "." + id
	balanceKey = key + ".balance"
	doneKey    = key + ".done"
)

func load() (text, id string) {
	var code strings.Builder
	entries, err := files.ReadDir("src") // sorted by name
	if err != nil {
		panic(err) // embedded
	}
	for _, e := range entries {
		file, err := files.ReadFile("src/" + e.Name())
		if err != nil {
			panic(err)
		}
		code.WriteString(dense(string(file)))
	}
	sum := sha256.Sum256([]byte(code.String()))
	return code.String(), hex.EncodeToString(sum[:4])
}

var indentOrComment = regexp.MustCompile(`(?m)^[ \t]*(?:--.*)?\n?|[ \t]+--[^"'\n]*$`)

// dense leaves out what only readers need: indentation, blank lines and
// comments. An empty comment stays here and there: Nginx's reader of Lua blocks
// wants a brace, a string or a comment within each 4 KiB.
func dense(code string) string {
	var t strings.Builder
	since := 0
	for line := range strings.Lines(strings.TrimSpace(indentOrComment.ReplaceAllString(code, "")) + "\n") {
		if since += len(line); since > 1024 {
			t.WriteString("--\n")
			since = 0
		}
		t.WriteString(line)
	}
	return t.String()
}

// Options are what the common part depends on.
type Options struct {
	// Socket is the absolute path that the control server listens at; the
	// folder has to be there, of mode 0700. See [CheckSocket].
	Socket string

	// Init also writes an init_by_lua_block, which Nginx allows once: it
	// removes a socket left by a killed Nginx and makes the folder again.
	Init bool

	// OwnLog leaves the log_by_lua_block out, which Nginx allows once at that
	// level: the operator's own there ends the counts. See [Global].
	OwnLog bool
}

// CheckSocket says why Nginx can't listen at this path.
func CheckSocket(path string) error {
	switch {
	case !strings.HasPrefix(path, "/") || strings.HasSuffix(path, "/"):
		return fmt.Errorf("socket %q: not an absolute path of a file", path)
	case len(path) > 107:
		return fmt.Errorf("socket %q: a unix socket's path may have 107 bytes, this has %d: use a shorter state_dir", path, len(path))
	case strings.ContainsAny(path, "\x00\n\r\"'\\$;{}# "):
		return fmt.Errorf("socket %q: a space or one of \" ' \\ $ ; { } # is in the path: use another state_dir", path)
	}
	return nil
}

// Common is the text for the http level, once in a configuration: the shared
// dictionary, the end of counts in the log phase, and the control server. The
// path has passed [CheckSocket]. The control server answers in the rewrite
// phase: what an operator has at the http level for all servers, such as
// limit_req, auth_request and deny, comes later and is not in its way.
func Common(o Options) string {
	var t strings.Builder
	fmt.Fprintf(&t, "lua_shared_dict %s %s;\nlua_shared_dict %s %s;\n", DictName, DictSize, CellsName, CellsSize)
	if o.Init {
		fmt.Fprintf(&t, "init_by_lua_block {\n%s}\n", dense(strings.Replace(initSource, "@PATH@", quote(o.Socket), 1)))
	}
	if !o.OwnLog {
		fmt.Fprintf(&t, "log_by_lua_block {\nlocal done = package.loaded[%s]\nif done then done() end\n}\n", quote(doneKey))
	}
	fmt.Fprintf(&t, `server {
    listen unix:%s;
    access_log off;
    server_rewrite_by_lua_block { return }
    location / {
        gzip off;
        limit_rate 0;
        client_max_body_size 4m;
        client_body_buffer_size 4m;
        client_body_timeout 10s;
        header_filter_by_lua_block { return }
        body_filter_by_lua_block { return }
        log_by_lua_block { return }
        rewrite_by_lua_block {
local b = package.loaded[%s]
if not b then
%send
b.control()
ngx.exit(ngx.HTTP_OK)
}
    }
}
`, o.Socket, quote(key), loading)
	return t.String()
}

// loading runs the code and keeps what it returns in b and in package.loaded.
var loading = fmt.Sprintf("b = (function()\n%send)()\npackage.loaded[%s] = b\npackage.loaded[%s] = b\n", source, quote(key), quote(Global))

// Balancer is the text for an upstream block, before its `keepalive` line and
// beside server lines of the seed's peers. method is spelt as in lbd's
// configuration: round_robin, least_conn, random, "random two", "random two
// least_conn", ip_hash, "hash KEY", "hash KEY consistent". seed is a message
// of this one upstream, see [live.Message].
func Balancer(name, method, seed string) string {
	// The inner function has no upvalue: with one, LuaJIT would compile no way through the block.
	return fmt.Sprintf(`balancer_by_lua_block {
local balance = package.loaded[%[7]s]
if not (balance and balance(%[1]s)) then
(function()
local loaded = package.loaded
if ngx.now() < (loaded["%[6]s.pause"] or 0) then return end
local ok, err = pcall(function()
local b = loaded[%[2]s]
if not b then
%[3]send
if not b.upstreams[%[1]s] then
b.upstream(%[1]s, %[4]s, table.concat({
%[5]s}))
end
loaded[%[7]s], loaded[%[8]s] = b.balance, b.done
end)
if ok then return loaded[%[2]s].balance(%[1]s) end
loaded["%[6]s.pause"] = ngx.now() + 10
ngx.log(ngx.ERR, "bazbeans: ", err, " (Nginx's own server lines serve meanwhile)")
end)()
end
}
`, quote(name), quote(key), loading, quote(method), seedLines(seed), Global, quote(balanceKey), quote(doneKey))
}

const seedBegin, seedEnd = "-- seed\n", "-- end of seed\n"

// seedBytes is how much of a seed goes into one Lua string.
const seedBytes = 500

// seedLines writes the seed as Lua strings of some lines each. Nginx's reader
// of Lua blocks has a buffer of 4 KiB: a string of more than half of that may
// make it lose what comes after, without a word.
func seedLines(seed string) string {
	var t strings.Builder
	t.WriteString(seedBegin)
	for len(seed) > 0 {
		end := min(len(seed), seedBytes)
		if line := strings.LastIndexByte(seed[:end], '\n'); line >= 0 {
			end = line + 1
		}
		fmt.Fprintf(&t, "%s,\n", quote(seed[:end])) // at most four bytes for one
		seed = seed[end:]
	}
	t.WriteString(seedEnd)
	return t.String()
}

// Strip takes the seeds out of a text that holds what [Balancer] wrote: what
// is left says whether two texts differ in more than their peers, and the
// seeds' upstreams come in the order of the text.
func Strip(text []byte) (rest []byte, upstreams []live.Upstream, err error) {
	for {
		before, seed, found := bytes.Cut(text, []byte(seedBegin))
		rest = append(rest, before...)
		if !found {
			return rest, upstreams, nil
		}
		var body []byte
		if body, text, found = bytes.Cut(seed, []byte(seedEnd)); !found {
			return nil, nil, errors.New("strip seeds: a seed without an end")
		}
		m, err := live.Decode(unquote(body))
		if err != nil {
			return nil, nil, fmt.Errorf("strip seeds: %w", err)
		}
		upstreams = append(upstreams, m.Upstreams...)
	}
}

// unquote joins the Lua strings of seedLines. What is no such string is left
// for the decoder to refuse.
func unquote(lines []byte) []byte {
	var out []byte
	for line := range bytes.Lines(lines) {
		line = bytes.TrimSuffix(bytes.TrimPrefix(line, []byte(`"`)), []byte("\",\n"))
		out = append(out, bytes.ReplaceAll(line, []byte(`\n`), []byte("\n"))...)
	}
	return out
}

// quote writes s as a Lua string in which Nginx's reader sees nothing special.
func quote(s string) string {
	var t strings.Builder
	t.WriteByte('"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '\n':
			t.WriteString(`\n`)
		case c < ' ' || c > '~' || strings.IndexByte("\"\\{}[]#'", c) >= 0:
			fmt.Fprintf(&t, `\%03d`, c)
		default:
			t.WriteByte(c)
		}
	}
	t.WriteByte('"')
	return t.String()
}
