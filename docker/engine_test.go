// Package docker is the images of BazBeans, a compose site, and tests that run both on a real container engine, with the
// pages that tell users how. It holds no code.
package docker

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
	"github.com/bazbeans/bazbeans/nginx-test/base"
)

var engine = flag.Bool("engine", false, "run the images on a container engine (make test-docker)")

// soon bounds every wait for something that takes moments on a quiet machine.
const soon = 2 * time.Minute

// world is what all tests share: a copy of the checkout, and images made of it.
var world struct {
	checkout string // with binaries in bin/
	prefix   string // of the images' names
	base     string // an image with nginx and redis in it, in place of those that users pull
	plugins  string // a folder for DOCKER_CONFIG, with version 2 of compose
	network  string // for NETWORK, see docker/.env
}

const version = "v0.0.1-test"

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(func() int {
		if !*engine {
			return m.Run()
		}
		undo, err := setUp()
		defer undo()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		if code := m.Run(); code != 0 || flag.Lookup("test.run").Value.String() != "" {
			return code
		}
		return allFollowed()
	}())
}

func needEngine(t *testing.T) {
	t.Helper()
	if !*engine {
		t.Skip("needs a container engine: make test-docker")
	}
}

// setUp finds or starts an engine, and makes the world. What it returns takes all of it away again.
func setUp() (undo func(), err error) {
	ctx := context.Background()
	var undos []func()
	undo = func() {
		for i := len(undos); i > 0; i-- {
			undos[i-1]()
		}
	}
	docker, err := base.Engine(ctx)
	if err != nil {
		return undo, err
	}
	undos = append(undos, func() { complain(docker.Stop()) })
	if err := docker.Alone(ctx); err != nil { // the pages' names are everybody's
		return undo, err
	}
	if world.network, err = freeNetwork(); err != nil {
		return undo, err
	}
	dir, err := os.MkdirTemp("", "bazbeans-docker-")
	if err != nil {
		return undo, err
	}
	undos = append(undos, func() { complain(os.RemoveAll(dir)) })
	world.prefix = filepath.Base(dir) + "/"
	world.checkout = filepath.Join(dir, "checkout")
	undos = append(undos, removeImages)
	if err := copyCheckout(world.checkout); err != nil {
		return undo, fmt.Errorf("copy the checkout: %w", err)
	}
	root, err := base.Get(ctx, "bookworm")
	if err != nil {
		return undo, err
	}
	image, err := root.Image(ctx)
	if err != nil {
		return undo, err
	}
	// As in redis:7-alpine, /data belongs to user 999; as in nginx, there is a user nginx, and what it runs is nginx.
	world.base = world.prefix + "base"
	text := "FROM " + image + "\nRUN mkdir /data && chown 999:1000 /data && useradd --system nginx\nCMD [\"nginx\", \"-g\", \"daemon off;\"]\n"
	if _, err := command(world.checkout, text, "docker", "build", "--tag", world.base, "-"); err != nil {
		return undo, err
	}
	if world.plugins, err = compose2(ctx, dir); err != nil {
		return undo, err
	}
	_, err = command(world.checkout, "", "make", "build", "VERSION="+version)
	return undo, err
}

func complain(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

func removeImages() {
	out, err := command("/", "", "docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}", "--filter", "reference="+world.prefix+"*")
	complain(err)
	if names := strings.Fields(out); len(names) > 0 {
		_, err = command("/", "", append([]string{"docker", "image", "rm", "--force"}, names...)...)
		complain(err)
	}
	// The stages that they were built in have no name.
	_, err = command("/", "", "docker", "image", "prune", "--force", "--filter", "label=bazbeans.stage=build")
	complain(err)
}

// copyCheckout copies what git knows, or would if it were told, so that tests may write in it.
func copyCheckout(to string) error {
	out, err := command("..", "", "git", "ls-files", "--cached", "--others", "--exclude-standard", "-z")
	if err != nil {
		return err
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(out, "\x00"), "\x00") {
		from := filepath.Join("..", name)
		info, err := os.Lstat(from)
		if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
			continue // removed just now, or a link that no image needs
		} else if err != nil {
			return err
		}
		text, err := os.ReadFile(from)
		if err == nil {
			err = os.MkdirAll(filepath.Dir(filepath.Join(to, name)), 0o755)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(to, name), text, info.Mode().Perm())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// freeNetwork returns the first three numbers of addresses that no network of this machine has.
func freeNetwork() (string, error) {
	taken, err := net.InterfaceAddrs()
	if err != nil {
		return "", err
	}
	for range 1000 {
		first := netip.AddrFrom4([4]byte{10, byte(rand.IntN(256)), byte(rand.IntN(256)), 0})
		ours := netip.PrefixFrom(first, 24)
		if !slices.ContainsFunc(taken, func(a net.Addr) bool {
			theirs, err := netip.ParsePrefix(a.String())
			return err == nil && theirs.Overlaps(ours)
		}) {
			return strings.TrimSuffix(first.String(), ".0"), nil
		}
	}
	return "", fmt.Errorf("no 10.x.y.0/24 is free beside %s", taken)
}

// compose2 returns a folder for DOCKER_CONFIG with which `docker compose` is version 2, of Debian 13.
func compose2(ctx context.Context, dir string) (string, error) {
	root, err := base.Debian(ctx, "trixie", "docker-compose", "docker-cli")
	if err != nil {
		return "", err
	}
	plugins := filepath.Join(dir, "plugins")
	script := "#!/bin/sh\nexec " + root + "/lib64/ld-linux-x86-64.so.2 --library-path " + root + "/lib/x86_64-linux-gnu " +
		root + "/usr/libexec/docker/cli-plugins/docker-compose \"$@\"\n"
	if err := os.MkdirAll(plugins+"/cli-plugins", 0o755); err != nil {
		return "", err
	}
	return plugins, os.WriteFile(plugins+"/cli-plugins/docker-compose", []byte(script), 0o755)
}

// env is what programs run with: settings that stand in for images that can't be pulled here.
func env(more ...string) []string {
	e := append(os.Environ(), "DOCKER_CONFIG="+world.plugins, "PREFIX="+world.prefix, "BINARIES=prebuilt", "VERSION="+version,
		"BUILD_IMAGE="+world.base, "NGINX_IMAGE="+world.base, "REDIS_IMAGE="+world.base, "NETWORK="+world.network, "SOURCE_DATE_EPOCH=1700000000",
		"BUILDKIT_PROGRESS=plain")
	for _, name := range []string{"lbd", "web", "bbagent", "bbctl"} {
		e = append(e, strings.ToUpper(name)+"_IMAGE="+world.prefix+name)
	}
	return append(e, more...)
}

// command runs a program in a folder, with a text to read, and returns what it wrote to stdout.
func command(dir, stdin string, argv ...string) (string, error) {
	return commandIn(dir, stdin, env(), argv...)
}

func commandIn(dir, stdin string, env []string, argv ...string) (string, error) {
	ctx, stop := context.WithTimeout(context.Background(), 5*time.Minute) // no test's: it also cleans up
	defer stop()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir, cmd.Env, cmd.Stdin = dir, env, strings.NewReader(stdin)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s: %w\n%s%s", strings.Join(argv, " "), err, out.String(), said.String())
	}
	return out.String(), nil
}

// docker runs the docker command, which has to do what it was told.
func docker(t *testing.T, args ...string) string {
	t.Helper()
	out, err := command("/", "", append([]string{"docker"}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// images makes the images, once, as docs/deploy-container.md says.
func images(t *testing.T) {
	t.Helper()
	made.Do(func() { shell(t, world.checkout, example(t, "deploy-container", "sh", "make images")) })
}

var made sync.Once

// shell runs an example.
func shell(t *testing.T, dir, text string) string {
	t.Helper()
	out, err := command(dir, "", "sh", "-ec", text)
	if err != nil {
		t.Fatalf("%s\n%v", text, err)
	}
	return out
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func eventually(t *testing.T, condition func() error) {
	t.Helper()
	serverstest.Eventually(t, soon, condition)
}

// healthy waits until a container's own health check says so, or the opposite.
func healthy(t *testing.T, container, want string) {
	t.Helper()
	eventually(t, func() error {
		got, err := command("/", "", "docker", "inspect", "--format", "{{.State.Health.Status}}", container)
		if err == nil && strings.TrimSpace(got) != want {
			log, _ := command("/", "", "docker", "inspect", "--format", "{{range .State.Health.Log}}{{.Output}}{{end}}", container)
			err = fmt.Errorf("%s is %s, want %s: %s", container, strings.TrimSpace(got), want, log)
		}
		return err
	})
}

// network makes one with a Redis that is called redis in it.
func network(t *testing.T, name string) {
	t.Helper()
	docker(t, "network", "create", "--label", "bazbeans.test=1", name)
	t.Cleanup(func() { _, err := command("/", "", "docker", "network", "rm", name); complain(err) })
	container(t, "--network", name, "--network-alias", "redis", "--name", name+"-redis", world.base, "redis-server", "--protected-mode", "no", "--save", "")
}

// container runs one until the test ends; its arguments are those of docker run, and its name comes after --name.
func container(t *testing.T, args ...string) {
	t.Helper()
	docker(t, append([]string{"run", "--detach"}, args...)...)
	removed(t, args[indexAfter(args, "--name")])
}

// removed has a container taken away when the test ends. What it wrote is shown if the test failed.
func removed(t *testing.T, name string) {
	t.Cleanup(func() {
		if t.Failed() {
			out, _ := command("/", "", "sh", "-c", "docker logs "+name+" 2>&1 | grep -v bazbeans-load | tail -30") // it may be gone
			t.Logf("the log of %s ends:\n%s", name, out)
		}
		_, err := command("/", "", "docker", "rm", "--force", "--volumes", name)
		complain(err)
	})
}

func indexAfter(args []string, flag string) int {
	for i, a := range args {
		if a == flag {
			return i + 1
		}
	}
	panic("no " + flag)
}
