package main

import (
	"strings"
	"testing"

	"github.com/bazbeans/bazbeans/dev/servers"
)

// TestWebConf sees that what is replaced in the usual configuration is there.
func TestWebConf(t *testing.T) {
	conf := webConf(servers.DefaultConf(servers.NginxOptions{Listen: []string{"127.0.0.1:1"}}), webOptions{most: 4096, spread: true})
	for _, want := range []string{"http {\n    keepalive_requests 1000000000;\n", "worker_connections 4096;", "listen 127.0.0.1:1 reuseport;"} {
		if !strings.Contains(conf, want) {
			t.Errorf("no %q in:\n%s", want, conf)
		}
	}
}
