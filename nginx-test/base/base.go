// Package base makes other Debians than this machine's, once, for every test
// that wants another Nginx: bookworm brings Nginx 1.22 and Redis 7, trixie
// 1.26 and Redis 8, sid 1.30 or later and Valkey. Each is a folder in the
// user's cache, whose programs run as if they were this machine's (see
// [Root.Nginx]), and a container image of the same files ([Root.Image]) for
// machines that can pull none. [Engine] finds or starts the engine for it.
//
// It is for tests, benchmarks and CI, and needs root. It installs nothing on
// this machine (tools/deps does), and starts no server but the container engine.
package base

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Suites are the Debians that Get makes, oldest Nginx first.
var Suites = []string{"bookworm", "trixie", "sid"}

// Root is a Debian with Nginx, its modules for Lua and streams, and Redis.
type Root struct {
	Suite string
	Dir   string // its files; only to be read

	redis string
}

// Get returns the root of a suite, and makes it when it isn't there yet: that
// takes a minute and needs root. Processes that want it at the same time wait
// for one another.
func Get(ctx context.Context, suite string) (*Root, error) {
	r := &Root{Suite: suite, redis: "redis-server"}
	switch suite {
	case "bookworm", "trixie":
	case "sid":
		r.redis = "valkey-server"
	default:
		return nil, fmt.Errorf("there is no root of %q: the suites are %s", suite, strings.Join(Suites, ", "))
	}
	var err error
	r.Dir, err = Debian(ctx, suite, "nginx", "libnginx-mod-http-lua", "libnginx-mod-stream", r.redis, "ca-certificates")
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"nginx", r.redis} {
		if err := install(ctx, r.bin(name)); err != nil {
			return nil, fmt.Errorf("make a wrapper of %s's %s: %w", suite, name, err)
		}
	}
	return r, nil
}

// Nginx is the path of a program that runs this root's nginx: with the same
// arguments, folder and process id, so that signals and pid files are right.
// nginx sees the root's /usr, /etc, /var and /run, and all other folders of
// this machine, /tmp among them, where they are. It needs root to run.
func (r *Root) Nginx() string { return r.bin("nginx") }

// RedisName is the name of the suite's Redis program.
func (r *Root) RedisName() string { return r.redis }

// Redis is the same as Nginx for redis-server, or valkey-server where the suite
// has that instead.
func (r *Root) Redis() string { return r.bin(r.redis) }

// Lua are the paths, in this root, of the modules that Nginx has to load for
// Lua, in that order (see servers.NginxOptions.Modules).
func (r *Root) Lua() []string {
	const modules = "/usr/lib/nginx/modules/"
	return []string{modules + "ndk_http_module.so", modules + "ngx_http_lua_module.so"}
}

func (r *Root) bin(name string) string { return filepath.Join(filepath.Dir(r.Dir), "bin", name) }

// present tells whether a file is there.
func present(path string) bool { _, err := os.Stat(path); return err == nil }
