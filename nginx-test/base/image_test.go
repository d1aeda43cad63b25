package base_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/bazbeans/bazbeans/nginx-test/base"
)

func engine(t *testing.T) *base.Docker {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("one has to be root to start a container engine")
	}
	d, err := base.Engine(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Stop(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func TestImageRunsTheSameNginx(t *testing.T) {
	engine(t)
	r := root(t, "trixie")
	image, err := r.Image(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if again, err := r.Image(t.Context()); again != image || err != nil {
		t.Errorf("the second time: %s, %v", again, err)
	}
	inside, err := exec.Command("docker", "run", "--rm", "--network", "none", image, "nginx", "-v").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, inside)
	}
	if here, err := exec.Command(r.Nginx(), "-v").CombinedOutput(); err != nil || string(here) != string(inside) {
		t.Errorf("in the container %s, here %s (%v)", inside, here, err)
	}
}

func TestAnEngineThatOthersUseGoesOn(t *testing.T) {
	engine(t)
	other, err := base.Engine(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Stop(); err != nil {
		t.Error(err)
	}
	if out, err := exec.Command("docker", "version").CombinedOutput(); err != nil {
		t.Errorf("the engine was stopped by the first of two users: %v\n%s", err, out)
	}
}

func TestNoEngineIsStartedBesideDockerHost(t *testing.T) {
	t.Setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
	if _, err := base.Engine(t.Context()); err == nil || !strings.Contains(err.Error(), "does not answer") {
		t.Error(err)
	}
}
