package main

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/bazbeans/bazbeans/nginx-test/base"
)

// image is an Nginx to play with.
type image struct {
	label string // as it was named
	name  string // the engine's
	env   []string
}

// debian begins the names of images that are made here, from Debian's packages.
const debian = "debian:"

// find makes the image if it is one of Debian's; others the engine has or pulls.
func find(ctx context.Context, label string) (*image, error) {
	suite, ours := strings.CutPrefix(label, debian)
	if !ours {
		if _, err := docker(ctx, "image", "inspect", label); err != nil {
			if _, err := docker(ctx, "pull", label); err != nil {
				return nil, fmt.Errorf("%w\non a machine that can't pull, say NGINX_IMAGES=\"debian:bookworm debian:trixie debian:sid\"", err)
			}
		}
		return &image{label: label, name: label, env: []string{"NGINX_IMAGE=" + label}}, nil
	}
	root, err := base.Get(ctx, suite)
	if err != nil {
		return nil, err
	}
	name, err := root.Image(ctx)
	if err != nil {
		return nil, err
	}
	return &image{label: label, name: name, env: []string{"NGINX_IMAGE=" + name, "REDIS_IMAGE=" + name, "REDIS_PROGRAM=" + root.RedisName()}}, nil
}

var versionLine = regexp.MustCompile(`nginx version: \S+?/(\S+)`)

// version is what the image's nginx says of itself.
func (i *image) version(ctx context.Context) (string, error) {
	out, err := docker(ctx, "run", "--rm", "--network", "none", "--entrypoint", "sh", i.name, "-c", "nginx -v 2>&1")
	if err == nil && version(out) == "" {
		err = fmt.Errorf("nginx -v says %q", out)
	}
	return version(out), err
}

// version finds it in what `nginx -v` says, "" if that is something else.
func version(said []byte) string {
	if found := versionLine.FindSubmatch(said); found != nil {
		return string(found[1])
	}
	return ""
}
