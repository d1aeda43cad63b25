package lbd

import (
	"encoding/pem"
	"fmt"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
	"github.com/bazbeans/bazbeans/resolvers"
)

const resolverPage = "resolvers.md"

// the picks the block that holds a text.
func the(t *testing.T, language, holds string) string {
	t.Helper()
	for _, b := range blocks(t, resolverPage, language) {
		if strings.Contains(b, holds) {
			return b
		}
	}
	t.Fatalf("%s has no %s block with %q", resolverPage, language, holds)
	return ""
}

// resolves runs lbd resolve without a pool, and wants these addresses; "" for none.
func resolves(t *testing.T, want map[string]string, flags ...string) {
	t.Helper()
	args := append([]string{"resolve", "--redis-url", "redis://127.0.0.1:1"}, flags...)
	lost := false
	for id, address := range want {
		args = append(args, id)
		lost = lost || address == ""
	}
	code, out, errs := runLBD(t, args...)
	if (code == cli.Failed) != lost || code != cli.Done && !lost {
		t.Errorf("%v: exit %d\n%s%s", flags, code, out, errs)
	}
	said := map[string]string{}
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); strings.Contains(line, " found ") {
			said[f[0]] = f[3]
		} else if len(f) > 2 && f[2] == "cannot" {
			t.Errorf("%v: %s", flags, line)
		}
	}
	for id, address := range want {
		if said[id] != address {
			t.Errorf("%v: %s is at %q, want %q\n%s%s", flags, id, said[id], address, out, errs)
		}
	}
}

func TestThePagesShellScripts(t *testing.T) {
	dir := t.TempDir()
	inventory := filepath.Join(dir, "inventory")
	writeTestFile(t, inventory, "web1 10.0.1.10\nweb2 10.0.1.11:8100\n")
	script := func(name, holds string) string {
		path := filepath.Join(dir, name)
		text := strings.ReplaceAll(the(t, "sh", holds), "/etc/lbd/inventory", inventory)
		if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
		return path
	}
	want := map[string]string{"web1": "10.0.1.10", "web2": "10.0.1.11:8100", "stranger": ""}
	one := script("lookup", "lookup ID")
	resolves(t, want, "--resolver", "callback:"+one)
	all := filepath.Join(dir, "all.yaml")
	writeTestFile(t, all, fmt.Sprintf("resolvers: [{callback: {exec: [%s], batch: true}}]\n", script("lookup-all", "lookup-all")))
	resolves(t, want, "--config", all)
	// Without the inventory nobody can know, as the page says.
	if err := os.Remove(inventory); err != nil {
		t.Fatal(err)
	}
	for _, flags := range [][]string{{"--resolver", "callback:" + one}, {"--config", all}} {
		code, out, _ := runLBD(t, append([]string{"resolve", "--redis-url", "redis://127.0.0.1:1", "web1"}, flags...)...)
		if code != cli.Failed || !strings.Contains(out, "cannot know") {
			t.Errorf("%v: exit %d\n%s", flags, code, out)
		}
	}
}

func TestThePagesService(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "inventory.py")
	writeTestFile(t, program, the(t, "python", "ThreadingHTTPServer"))
	addr := fmt.Sprintf("127.0.0.1:%d", serverstest.Ports(t, 1)[0])
	cmd := exec.Command("python3", program, strings.TrimPrefix(addr, "127.0.0.1:"))
	var output strings.Builder
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatalf("python3 is not installed: run `make deps`: %v", err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed
		if t.Failed() {
			t.Log(output.String())
		}
	}()
	serverstest.Eventually(t, 30*time.Second, func() error {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			_ = c.Close()
		}
		return err
	})
	want := map[string]string{"web1": "10.0.1.10", "web2": "10.0.1.11:8100", "stranger": ""}
	resolves(t, want, "--resolver", "callback:http://"+addr+"/nodes/{node_id}")
	all := filepath.Join(dir, "all.yaml")
	writeTestFile(t, all, "resolvers: [{callback: {url: 'http://"+addr+"/nodes', batch: true}}]\n")
	resolves(t, want, "--config", all)
}

func TestThePagesProgramIsAnLBD(t *testing.T) {
	dir, err := os.MkdirTemp("testdata", "program") // inside the module, so that it finds it, and out of ./...
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	writeTestFile(t, filepath.Join(dir, "main.go"), the(t, "go", "func main()"))
	writeTestFile(t, filepath.Join(dir, "main_test.go"), the(t, "go", "func TestConformance"))
	bin := filepath.Join(t.TempDir(), "lbd")
	run := func(want string, argv ...string) {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), argv[0], argv[1:]...).CombinedOutput()
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("%v: %v\n%s", argv, err, out)
		}
	}
	run("", "go", "build", "-o", bin, "./"+dir)
	run("10.0.1.11:8100", bin, "resolve", "web2", "--resolver", "cmdb", "--redis-url", "redis://127.0.0.1:1", "--id", "lb1", "--state-dir", t.TempDir())
	run("ok", "go", "test", "./"+dir)
}

// The page's configs are right, with its paths replaced by ones of the test.
func TestThePagesResolverConfigs(t *testing.T) {
	dir := t.TempDir()
	server := httptest.NewTLSServer(nil)
	server.Close() // its certificate is all that is wanted
	files := map[string]string{
		"/etc/lbd/nodes.yaml":       "a: 10.0.0.1",
		"/etc/lbd/inventory-ca.pem": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})),
		"/etc/lbd/inventory-token":  "secret",
		"/usr/local/bin/lookup-all": "#!/bin/sh\n",
		"/usr/local/bin/lookup":     "#!/bin/sh\n",
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	replace := []string{"user: nobody", "user: " + me.Username}
	for path, text := range files {
		at := filepath.Join(dir, filepath.Base(path))
		if err := os.WriteFile(at, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
		replace = append(replace, path+",", at+",", path+"]", at+"]", path+"}", at+"}")
	}
	for _, text := range blocks(t, resolverPage, "yaml") {
		c, err := parseConfig(t, strings.NewReplacer(replace...).Replace(text))
		if err != nil {
			t.Errorf("%s\n%v", text, err)
			continue
		}
		l, err := New(c, silent)
		if err != nil {
			t.Errorf("%s\n%v", text, err)
			continue
		}
		if n := strings.Count(text, "\n  - "); len(l.chain.Names()) != n {
			t.Errorf("%s\nhas %d resolvers, made are %v", text, n, l.chain.Names())
		}
		_ = l.Close()
	}
}

// The page's tables name all settings that there are.
func TestThePageNamesAllSettings(t *testing.T) {
	text := page(t, resolverPage)
	for section, settings := range map[string]any{"## dns": resolvers.DNSOptions{}, "## callback": resolvers.CallbackOptions{}} {
		_, rest, found := strings.Cut(text, "\n"+section+"\n")
		part, _, _ := strings.Cut(rest, "\n## ")
		if !found {
			t.Errorf("no section %s", section)
		}
		typ := reflect.TypeOf(settings)
		for i := range typ.NumField() {
			if name := typ.Field(i).Tag.Get("yaml"); !strings.Contains(part, "\n| `"+name+"` |") {
				t.Errorf("%s has no row for %s", section, name)
			}
		}
	}
	for _, o := range []resolvers.Outcome{resolvers.Found, resolvers.NotMine, resolvers.CannotKnow, resolvers.Refused} {
		if n := strings.Count(text, "| `"+string(o)+"` |"); n != 5 { // the contract, and each resolver that ships
			t.Errorf("%d tables say what %s means, want 5", n, o)
		}
	}
}
