package main

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"github.com/bazbeans/bazbeans/dev/servers"
	"github.com/bazbeans/bazbeans/pool"
	"github.com/bazbeans/bazbeans/render"
)

// crowd is many nodes that answer fast, for the parts that measure what a front costs: one Nginx that listens on an
// address for each of them.
type crowd []render.Server

// startCrowd starts n nodes on 127.0.2.1 and up. They end with the site.
func startCrowd(ctx context.Context, s *site, n int) (crowd, error) {
	port, err := servers.FreePort()
	if err != nil {
		return nil, err
	}
	var c crowd
	var listen strings.Builder
	for i := range n {
		at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, byte(2 + i/mostNodes), byte(1 + i%mostNodes)}), uint16(port))
		c = append(c, render.Server{ID: fmt.Sprintf("c%d", i+1), Addr: at, Weight: 1})
		fmt.Fprintf(&listen, "        listen %s;\n", at)
	}
	web, err := servers.StartNginx(ctx, servers.NginxOptions{Dir: filepath.Join(s.dir, fmt.Sprintf("crowd-%d", n)), Conf: fmt.Sprintf(crowdConf, listen.String(), pagePath, strings.Repeat("x", 1024), strings.Repeat("$kib", 16))})
	if err != nil {
		return nil, err
	}
	s.atEnd(web.Kill)
	return c, nil
}

// pagePath is where the nodes answer with 16 KiB from memory; elsewhere it is three bytes.
const pagePath = "/page"

const crowdConf = `worker_processes 1;
pid nginx.pid;
error_log error.log notice;
events { worker_connections 16384; }
http {
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path client_body_temp;
    proxy_temp_path proxy_temp;
    fastcgi_temp_path fastcgi_temp;
    uwsgi_temp_path uwsgi_temp;
    scgi_temp_path scgi_temp;
    server {
%s
        location / { return 200 "ok\n"; }
        location = %s {
            set $kib %s;
            return 200 %s;
        }
    }
}
`

// join makes all nodes members of a pool, for longer than any part takes.
func (c crowd) join(ctx context.Context, p *pool.Pool) error {
	for _, peer := range c {
		if _, err := join(ctx, p, peer.ID, peer.Addr, time.Hour); err != nil {
			return err
		}
	}
	return nil
}

// fixed starts a front whose upstream is written once, as lbd would write it for the reload engine.
func (c crowd) fixed(ctx context.Context, s *site, name string, u upstream, web webOptions) (front, error) {
	text, err := rendered(u, c, "")
	if err != nil {
		return nil, err
	}
	web.files = map[string]string{"conf.d/upstream.conf": string(text)}
	return startWeb(ctx, s, name, web)
}

// live starts a front whose peers lbd brings in.
func (c crowd) live(ctx context.Context, s *site, name string, u upstream, e engine, web webOptions, binary string) (*nginxFront, *lbd, error) {
	w, err := startWeb(ctx, s, name, web)
	if err != nil {
		return nil, nil, err
	}
	l := &lbd{site: s}
	if l.pool, err = pool.Open(pool.Config{URL: s.redis.URL(), KeyPrefix: name}); err != nil {
		return nil, nil, err
	}
	s.atEnd(l.pool.Close)
	if err := c.join(ctx, l.pool); err != nil {
		return nil, nil, err
	}
	err = l.run(ctx, binary, e, w, name, fmt.Sprintf("upstreams: [{name: app_backend, output: %s, balance: %s, keepalive: %d}]\n",
		upstreamFile(w.Nginx), u.balance, u.keepalive))
	s.atEnd(l.close)
	return w, l, err
}
