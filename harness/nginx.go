package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/dev/servers"
)

// Nginx is one binary that cases are played with.
type Nginx struct {
	Binary  string   // absolute path
	Version string   // like 1.22.1, or openresty/1.27.1.2 where it is no plain Nginx
	Modules []string // paths, to be loaded in this order

	lua    []string // Modules, and those that Lua needs beside them
	noLua  error    // why there is none
	folder string   // of its modules; "" when it can load none
}

// testTimeout bounds `nginx -t` and `nginx -V`: addresses need no resolver.
const testTimeout = 20 * time.Second

var (
	versionLine = regexp.MustCompile(`(?m)^nginx version: (\S+)`)
	modulesPath = regexp.MustCompile(`--modules-path=(\S+)`)
)

// FindNginx looks for a binary, by path or in PATH, and asks it for its version. A module without a slash is one of the
// binary's modules folder. Errors have exit code 2.
func FindNginx(ctx context.Context, binary string, modules []string) (*Nginx, error) {
	path, err := exec.LookPath(binary)
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return nil, cli.Usagef("%w\n"+noNginx, err)
	}
	ctx, cancel := context.WithTimeout(ctx, testTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "-V").CombinedOutput()
	found := versionLine.FindSubmatch(out)
	if err != nil || found == nil {
		return nil, cli.Usagef("%s -V: %w, it says %.200q: is it Nginx?", path, errors.Join(err, ctx.Err()), out)
	}
	n := &Nginx{Binary: path, Version: strings.TrimPrefix(string(found[1]), "nginx/")}
	if folder := modulesPath.FindSubmatch(out); folder != nil {
		n.folder = string(folder[1])
	}
	for _, m := range modules {
		if m, err = n.module(m); err != nil {
			return nil, err
		}
		n.Modules = append(n.Modules, m)
	}
	return n, nil
}

// module is the path of a module, which may be given by name.
func (n *Nginx) module(name string) (string, error) {
	switch {
	case strings.Contains(name, "/"):
		return name, nil
	case n.folder == "":
		return "", cli.Usagef("module %s: %s has no modules folder: give the module's path", name, n.Binary)
	case filepath.Ext(name) == "":
		name += ".so"
	}
	return filepath.Join(n.folder, name), nil
}

// findLua finds out what to load for Lua: nothing more (it is built in, or among Modules), or the two usual modules.
func (n *Nginx) findLua(ctx context.Context, dir string) {
	lua := output{"lua.conf", []byte("lua_shared_dict bazbeans_probe 1m;\n")}
	try := func(modules []string) error {
		n.lua = modules
		_, err := (&site{nginx: n, dir: dir, modules: modules, outputs: []output{lua}}).test(ctx)
		return err
	}
	if n.noLua = try(n.Modules); n.noLua == nil || n.folder == "" {
		return
	}
	n.noLua = try(append(slices.Clone(n.Modules), filepath.Join(n.folder, "ndk_http_module.so"), filepath.Join(n.folder, "ngx_http_lua_module.so")))
}

// modules are those to load for an engine.
func (n *Nginx) modules(engine string) []string {
	if engine == engineLua {
		return n.lua
	}
	return n.Modules
}

// noNginx is for people on whose machine there is none.
const noNginx = `Cases are played with a real Nginx. Ways to have one:
  install it                        apt-get install nginx, dnf install nginx; nothing of it needs to run
  name its binary                   lbd test --nginx /opt/nginx/sbin/nginx
  take it from an image             make harness (needs Docker)
  do without                        lbd test --nginx none: what lbd itself refuses, and golden files, but no traffic`

// site is one Nginx configuration in a folder of its own.
type site struct {
	nginx   *Nginx
	dir     string
	modules []string
	routes  []route
	outputs []output // in the order of the routes
	include []string // files of the user's, at http level before the outputs
}

// route is one listener that passes everything to an upstream.
type route struct{ listen, upstream string }

// output is a file that lbd would write.
type output struct {
	name string // in the site's folder
	text []byte
}

// sizes are put at http level, unless files that come with the templates set them: what maps of addresses need.
var sizes = []string{"map_hash_bucket_size 256", "map_hash_max_size 16384", "variables_hash_bucket_size 128"}

// conf is the site's nginx.conf.
func (s *site) conf() (string, error) {
	var b, http strings.Builder
	for _, m := range s.modules {
		fmt.Fprintf(&b, "load_module %s;\n", m)
	}
	if os.Geteuid() == 0 {
		b.WriteString("user root;\n") // another user may not enter the folder
	}
	b.WriteString("worker_processes 1;\npid nginx.pid;\nerror_log error.log notice;\nevents { worker_connections 1000; }\nhttp {\n" +
		"    access_log off;\n    default_type text/plain;\n    client_body_temp_path client_body_temp;\n    proxy_temp_path proxy_temp;\n" +
		"    fastcgi_temp_path fastcgi_temp;\n    uwsgi_temp_path uwsgi_temp;\n    scgi_temp_path scgi_temp;\n")
	var lines []string
	for _, file := range s.include {
		path, err := filepath.Abs(file)
		if err == nil {
			var text []byte
			text, err = os.ReadFile(path)
			http.Write(text)
		}
		if err != nil {
			return "", cli.Usagef("--include: %w", err)
		}
		lines = append(lines, fmt.Sprintf("    include %q;\n", path))
	}
	for _, o := range s.outputs {
		http.Write(o.text)
	}
	for _, size := range sizes { // before all: behind a map they would be too late
		if name, _, _ := strings.Cut(size, " "); !strings.Contains(http.String(), name) {
			fmt.Fprintf(&b, "    %s;\n", size)
		}
	}
	b.WriteString(strings.Join(lines, ""))
	for _, o := range s.outputs {
		fmt.Fprintf(&b, "    include %s;\n", o.name)
	}
	for _, r := range s.routes {
		fmt.Fprintf(&b, "    server {\n        listen %s;\n        location / {\n            proxy_pass http://%s;\n"+
			"            proxy_http_version 1.1;\n            proxy_set_header Connection \"\";\n        }\n    }\n", r.listen, r.upstream)
	}
	b.WriteString("}\n")
	return b.String(), nil
}

// refusal is what Nginx says of a configuration.
type refusal struct {
	said string // its words, without the paths of the site's folder
	file string // the output that it names; "" for none
	line int
}

func (r *refusal) Error() string { return r.said }

// stamp is what Nginx writes before what it has to say: time and process, or its name.
var stamp = regexp.MustCompile(`^(?:nginx: |[0-9/]+ [0-9:]+ )\[(\w+)\] (?:\d+#\d+: )?`)

var place = regexp.MustCompile(` in (\S+):(\d+)$`)

// test runs `nginx -t`. warnings are what it says of a configuration that it takes; a *refusal is the error for one that
// it does not.
func (s *site) test(ctx context.Context) (warnings []string, err error) {
	conf, err := s.conf()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return nil, err
	}
	for _, o := range append([]output{{"nginx.conf", []byte(conf)}}, s.outputs...) {
		if err := os.WriteFile(filepath.Join(s.dir, o.name), o.text, 0o644); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, testTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.nginx.Binary, "-t", "-e", "stderr", "-p", s.dir, "-c", filepath.Join(s.dir, "nginx.conf"))
	cmd.Dir = s.dir
	out, err := cmd.CombinedOutput()
	said := strings.ReplaceAll(string(out), s.dir+"/", "")
	var lines []string
	for line := range strings.Lines(said) {
		line = stamp.ReplaceAllString(strings.TrimSpace(line), "[$1] ")
		if strings.Contains(line, "[warn]") || strings.Contains(line, "[emerg]") || err != nil && !strings.HasSuffix(line, " test failed") {
			lines = append(lines, line)
		}
	}
	if err == nil {
		return lines, nil
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("%s -t: %w", s.nginx.Binary, ctx.Err())
	}
	r := &refusal{said: strings.Join(lines, "\n")}
	for _, line := range lines {
		if found := place.FindStringSubmatch(line); found != nil {
			r.file = found[1]
			_, _ = fmt.Sscan(found[2], &r.line) // the pattern is of digits
			break
		}
	}
	if r.said == "" {
		r.said = fmt.Sprintf("nginx -t: %v", err)
	}
	return nil, r
}

// start starts Nginx with what was tested.
func (s *site) start(ctx context.Context) (*servers.Nginx, error) {
	conf, err := s.conf()
	if err != nil {
		return nil, err
	}
	return servers.StartNginx(ctx, servers.NginxOptions{Binary: s.nginx.Binary, Dir: s.dir, Conf: conf})
}
