package nginx

import (
	"cmp"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/bazbeans/bazbeans/step"
)

// build is what `nginx -V` tells: the version, and the paths that hold where the options name none.
type build struct {
	path     string // of the binary, links resolved
	id       fileID // so that an upgraded binary is asked again
	version  int    // 1.22.1 is 1022001, as in NGINX_VERSION_NUMBER
	prefix   string
	conf     string // as built in: relative to the prefix, or absolute
	errorLog string // likewise, or "stderr"
}

var versionRE = regexp.MustCompile(`(?m)^nginx version: \S+/(\d+)\.(\d+)\.(\d+)`)

// build returns what the binary says of itself; it runs the binary once and again after an upgrade.
func (n *Nginx) build(ctx context.Context) (build, error) {
	n.buildMu.Lock()
	defer n.buildMu.Unlock()
	path, err := exec.LookPath(n.opt.Binary)
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if err != nil {
		return build{}, step.Errorf(step.Test, "install Nginx, or name its binary in nginx.binary", "find the Nginx binary: %w", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return build{}, step.Errorf(step.Test, "", "find the Nginx binary: %w", err)
	}
	if id := idOf(info); n.built.path == path && n.built.id == id {
		return n.built, nil
	}
	ctx, cancel := context.WithTimeout(ctx, n.opt.TestTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "-V").CombinedOutput()
	if err != nil {
		return build{}, step.Errorf(step.Test, "", "run %s -V: %w", path, err)
	}
	n.built = parseBuild(string(out))
	n.built.path, n.built.id = path, idOf(info)
	return n.built, nil
}

// argRE takes one argument of configure after the other: one may be quoted in another.
var argRE = regexp.MustCompile(`\s--([a-z0-9_-]+)(?:=(?:'([^']*)'|(\S*)))?`)

func parseBuild(said string) build {
	args := map[string]string{}
	for _, m := range argRE.FindAllStringSubmatch(said, -1) {
		args[m[1]] = m[2] + m[3]
	}
	arg := func(name, fallback string) string { return cmp.Or(args[name], fallback) }
	b := build{ // the fallbacks are those of Nginx's auto/configure
		prefix:   arg("prefix", "/usr/local/nginx"),
		conf:     arg("conf-path", "conf/nginx.conf"),
		errorLog: arg("error-log-path", "logs/error.log"),
	}
	if m := versionRE.FindStringSubmatch(said); m != nil {
		for _, part := range m[1:] {
			v, _ := strconv.Atoi(part) // digits only
			b.version = b.version*1000 + v
		}
	}
	return b
}

// under is ngx_get_full_name: no cleaning, since Nginx does none.
func under(dir, name string) string {
	if strings.HasPrefix(name, "/") {
		return name
	}
	return strings.TrimSuffix(dir, "/") + "/" + name
}
