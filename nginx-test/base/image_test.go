package base_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
	"github.com/bazbeans/bazbeans/nginx-test/base"
)

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("one has to be root to start a container engine")
	}
}

func start(t *testing.T) *base.Docker {
	t.Helper()
	needRoot(t)
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

// Nor must the numbers that its engine's processes had, which others have by now. The engine of this test has a /run, a
// network and a cache of its own.
func TestAKilledEngineIsForgotten(t *testing.T) {
	needRoot(t)
	if os.Getenv(ownRun) == "" {
		child := exec.Command(os.Args[0], "-test.run=^TestAKilledEngineIsForgotten$", "-test.v")
		child.Env = append(os.Environ(), ownRun+"=1", "DOCKER_HOST=", "XDG_CACHE_HOME="+serverstest.Dir(t))
		child.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET}
		out, err := child.CombinedOutput()
		if !strings.Contains(string(out), "--- PASS: TestAKilledEngineIsForgotten") || err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	if err := errors.Join(syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""), syscall.Mount("x", "/run", "tmpfs", 0, "")); err != nil {
		t.Fatal(err)
	}
	stranger := []byte(strconv.Itoa(os.Getpid()))
	for _, file := range []string{"/var/run/docker.pid", "/var/run/docker/containerd/containerd.pid"} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, stranger, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	d := start(t)
	// Who stops it is killed while it ends: the next one waits for that.
	pid, err := os.ReadFile(os.Getenv("XDG_CACHE_HOME") + "/bazbeans/base/docker/dockerd.pid")
	if err != nil {
		t.Fatal(err)
	}
	first, err := strconv.Atoi(string(pid))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(first, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	serverstest.Eventually(t, soon, func() error {
		if exec.Command("docker", "version").Run() == nil {
			return errors.New("it answers yet")
		}
		return nil
	})
	if err := errors.Join(start(t).Stop(), d.Stop()); err != nil {
		t.Error(err)
	}
}

// ownRun tells this test binary, started by a test, that it may do as it likes in /run.
const ownRun = "BAZBEANS_TEST_OWN_RUN"

func TestNoEngineIsStartedBesideDockerHost(t *testing.T) {
	t.Setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
	if _, err := base.Engine(t.Context()); err == nil || !strings.Contains(err.Error(), "does not answer") {
		t.Error(err)
	}
}
