package base_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/bazbeans/bazbeans/nginx-test/base"
)

func start(t *testing.T) *base.Docker {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("one has to be root to start a container engine")
	}
	d, err := base.Engine(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func engine(t *testing.T) {
	t.Helper()
	d := start(t)
	t.Cleanup(func() {
		if err := d.Stop(); err != nil {
			t.Error(err)
		}
	})
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

// Who is killed stops nothing: what is left must not be in the way of the next.
func TestWhatAKilledProcessLeftIsRemoved(t *testing.T) {
	d := start(t)
	image, err := root(t, "trixie").Image(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Alone(t.Context()); err != nil {
		t.Fatal(err)
	}
	const name = "bazbeans-base-test"
	docker := func(args ...string) string {
		t.Helper()
		out, err := exec.Command("docker", args...).CombinedOutput()
		if err != nil {
			t.Fatalf("docker %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	docker("network", "create", name)
	docker("run", "--detach", "--restart", "always", "--stop-signal", "KILL", "--name", name, "--network", name, "--volume", name+":/kept", image, "sleep", "1000")
	t.Cleanup(func() { // when the test failed
		for _, args := range [][]string{{"rm", "--force"}, {"volume", "rm", "--force"}, {"network", "rm"}} {
			_ = exec.Command("docker", append(args, name)...).Run()
		}
	})
	if err := d.Stop(); err != nil {
		t.Fatal(err)
	}
	alone := exec.Command("docker", "version").Run() != nil
	engine(t)
	left := docker("ps", "--all") + docker("volume", "ls") + docker("network", "ls")
	if alone && strings.Contains(left, name) {
		t.Errorf("there are still\n%s", left)
	}
	if !alone && strings.Count(left, name) < 3 {
		t.Errorf("another process uses the engine, whose things were taken away; there are\n%s", left)
	}
	docker("image", "inspect", image)
}

func TestNoEngineIsStartedBesideDockerHost(t *testing.T) {
	t.Setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
	if _, err := base.Engine(t.Context()); err == nil || !strings.Contains(err.Error(), "does not answer") {
		t.Error(err)
	}
}
