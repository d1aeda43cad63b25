package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
)

// Docker is asked over its socket, as `docker inspect` does: each start of the docker program would cost more of the
// CPU than all that the agent may use.

// DockerCheck wants a container that runs and, if it has a health check of its own, is healthy.
type DockerCheck struct {
	Container string `yaml:"container"` // name or id
	Socket    string `yaml:"socket"`    // default /var/run/docker.sock; Podman's answers, too
}

// ComposeCheck is DockerCheck for all containers of a service; there has to be one at least. Compose v1 and v2 mark
// them alike.
type ComposeCheck struct {
	Service string `yaml:"service"`
	Project string `yaml:"project"` // its name; default: whatever was started in app_dir
	Socket  string `yaml:"socket"`
}

const defaultSocket = "/var/run/docker.sock"

func (c *DockerCheck) prepare(host) (probe, error) {
	ask, err := dockerAt(c.Socket)
	if c.Container == "" {
		err = errors.Join(errors.New("container: say its name or id"), err)
	}
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		var container struct{ State containerState }
		found, err := ask(ctx, "/containers/"+url.PathEscape(c.Container)+"/json", &container)
		switch {
		case err != nil:
			return err
		case !found:
			return fmt.Errorf("there is no container %s", c.Container)
		}
		return container.State.judge()
	}, nil
}

// containerState is a part of what the Engine API's ContainerInspect answers.
type containerState struct {
	Status   string // created running paused restarting removing exited dead
	ExitCode int
	Health   *struct {
		Status string // none starting healthy unhealthy
		Log    []struct{ Output string }
	}
}

func (s *containerState) judge() error {
	switch {
	case s.Status == "exited" || s.Status == "dead":
		return fmt.Errorf("%s with code %d", s.Status, s.ExitCode)
	case s.Status != "running":
		return fmt.Errorf("is %s", s.Status)
	case s.Health == nil || s.Health.Status == "" || s.Health.Status == "none" || s.Health.Status == "healthy":
		return nil
	}
	if n := len(s.Health.Log); n > 0 {
		out := tail{b: []byte(s.Health.Log[n-1].Output)}
		return fmt.Errorf("health is %s: %s", s.Health.Status, out.lastLine())
	}
	return fmt.Errorf("health is %s", s.Health.Status)
}

func (c *ComposeCheck) prepare(h host) (probe, error) {
	ask, err := dockerAt(c.Socket)
	if c.Service == "" {
		err = errors.Join(errors.New("service: say its name"), err)
	}
	if err != nil {
		return nil, err
	}
	const label = "com.docker.compose."
	which := label + "project.working_dir=" + filepath.Clean(h.appDir)
	if c.Project != "" {
		which = label + "project=" + c.Project
	}
	filters, err := json.Marshal(map[string][]string{"label": {label + "service=" + c.Service, label + "oneoff=False", which}})
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		var containers []listedContainer
		if _, err := ask(ctx, "/containers/json?all=1&filters="+url.QueryEscape(string(filters)), &containers); err != nil {
			return err
		}
		if len(containers) == 0 {
			return fmt.Errorf("service %s has no container (%s)", c.Service, which)
		}
		for _, one := range containers {
			if err := one.judge(); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

// listedContainer is a part of what the Engine API's ContainerList answers.
type listedContainer struct {
	Names  []string // each begins with /
	State  string
	Status string // for people: "Up 3 minutes (healthy)", "Exited (1) 5 minutes ago"
}

func (l *listedContainer) judge() error {
	sick := strings.HasSuffix(l.Status, "(unhealthy)") || strings.HasSuffix(l.Status, "(health: starting)")
	if l.State == "running" && !sick {
		return nil
	}
	name := "a container"
	if len(l.Names) > 0 {
		name = strings.TrimPrefix(l.Names[0], "/")
	}
	return fmt.Errorf("%s: %s, %s", name, l.State, l.Status)
}

// dockerAt returns how to ask the Docker at a socket: it decodes the answer into v; found is false when there is no
// such thing.
func dockerAt(socket string) (ask func(ctx context.Context, path string, v any) (found bool, err error), err error) {
	if socket == "" {
		socket = defaultSocket
	}
	if !filepath.IsAbs(socket) {
		return nil, fmt.Errorf("socket: %q is not absolute", socket)
	}
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}}}
	return func(ctx context.Context, path string, v any) (bool, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://docker"+path, nil)
		if err != nil {
			return false, err
		}
		resp, err := client.Do(req)
		if err != nil {
			return false, fmt.Errorf("ask docker: %w", errors.Unwrap(err)) // without the URL
		}
		defer resp.Body.Close()
		switch resp.StatusCode {
		case http.StatusOK:
		case http.StatusNotFound:
			return false, nil
		default:
			return false, fmt.Errorf("docker answers %s", resp.Status)
		}
		const most = 4 << 20 // bytes
		if err := json.NewDecoder(io.LimitReader(resp.Body, most)).Decode(v); err != nil {
			return false, fmt.Errorf("read docker's answer: %w", err)
		}
		return true, nil
	}, nil
}
