package main

import (
	"context"
	"fmt"
	"strings"
)

// bare starts a front with the least Lua code that an engine like lua could be: it takes the peers in turn, and counts
// requests up and down, in each worker for itself. No worker knows of another's, no peer may be down, fail, be tried after
// another one or be changed. What is lost against a static upstream is the price of the module's two ways into Lua.
func (c crowd) bare(ctx context.Context, s *site, name string, u upstream, web webOptions) (front, error) {
	var lines, hosts strings.Builder
	for _, peer := range c {
		fmt.Fprintf(&lines, "    server %s;\n", peer.Addr)
		fmt.Fprintf(&hosts, "%q, ", peer.Addr.Addr())
	}
	web.files = map[string]string{"conf.d/upstream.conf": fmt.Sprintf(bareConf, hosts.String(), c[0].Addr.Port(), lines.String(), u.keepalive)}
	return startWeb(ctx, s, name, web)
}

const bareConf = `init_by_lua_block {
    local set_peer = require("ngx.balancer").set_current_peer
    local hosts, port, turn, busy = {%s}, %d, 0, 0
    function bare_balance()
        turn, busy = turn %% #hosts + 1, busy + 1
        assert(set_peer(hosts[turn], port))
    end
    function bare_done()
        busy = busy - 1
    end
}
log_by_lua_block { bare_done() }
upstream app_backend {
%s    balancer_by_lua_block { bare_balance() }
    keepalive %d;
}
`
