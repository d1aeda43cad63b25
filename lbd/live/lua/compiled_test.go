package lua_test

import (
	"fmt"
	"math"
	"testing"
)

// longest answers with the length of the longest piece of machine code that LuaJIT has in this worker of those that run
// to the end of a function which Nginx has called, in instructions of its own.
const longest = `location = /longest { content_by_lua_block {
local info, longest = require("jit.util").traceinfo, 0
for i = 1, 8000 do
    local trace = info(i)
    if trace and trace.linktype == "return" then
        longest = math.max(longest, trace.nins)
    end
end
ngx.print(longest)
} }`

// TestRequestsAreCompiled: a request's whole way through here is one piece of machine code. What LuaJIT does not compile
// it interprets, at twice the cost, and says nothing; a loop in the way or one constant too many is enough. (The longest
// piece with least_conn had 236 instructions while there was a loop. jit.v tells why.)
func TestRequestsAreCompiled(t *testing.T) {
	each(t, func(t *testing.T, suite string) {
		for method, least := range map[string]int{"round_robin": 220, "least_conn": 450, "random two least_conn": 360} {
			s := newSite(t, peersOf(newNodes(t, 8)), siteOptions{suite: suite, method: method, workers: 2, inside: "keepalive 8;",
				server: longest + " location / { proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ''; }"})
			s.put(s.peers)
			n := s.compiled()
			for again := 0; n < least && again < 10; again++ { // what LuaJIT makes of it is chance, too
				s.reload()
				n = s.compiled()
			}
			if n < least {
				t.Errorf("%s: %d instructions, want %d", method, n, least)
			}
		}
	})
}

// TestRequestsTakeTheShortWay: what a request calls is found at one look once the first one has loaded it.
func TestRequestsTakeTheShortWay(t *testing.T) {
	each(t, func(t *testing.T, suite string) {
		const found = `location = /found { content_by_lua_block {
local n = 0
for name, value in pairs(package.loaded) do
    if type(value) == "function" and name:find "^bazbeans%.live%.%x+%.%a+$" then n = n + 1 end
end
ngx.print(n)
} }`
		s := newSite(t, peersOf(newNodes(t, 2)), siteOptions{suite: suite, workers: 1, server: found + " location / { proxy_pass http://app; }"})
		for _, want := range []string{"0", "2"} {
			if got, _ := s.get("/found"); got != want {
				t.Errorf("%s functions, want %s", got, want)
			}
			s.get("/")
		}
	})
}

// compiled sends so many requests that they are compiled, and returns the least of what the workers call their longest.
func (s *site) compiled() int {
	s.t.Helper()
	for i := range 8000 {
		s.getBy(busyClients[i%len(busyClients)], "/")
	}
	least := math.MaxInt
	for _, c := range busyClients { // some of each worker
		answer, _ := s.getBy(c, "/longest")
		var n int
		if _, err := fmt.Sscan(answer, &n); err != nil {
			s.t.Fatalf("%q: %v", answer, err)
		}
		least = min(least, n)
	}
	return least
}
