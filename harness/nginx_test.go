package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bazbeans/bazbeans/nginx-test/base"
)

// Several Nginx in one run, with both engines: the standard cases hold for Nginx 1.22, 1.26 and 1.30.
func TestNginxVersions(t *testing.T) {
	args := []string{"--engine", "reload,lua"}
	want := map[string]int{}
	for _, suite := range []string{"bookworm", "trixie", "sid"} {
		root, err := base.Get(t.Context(), suite)
		if err != nil {
			t.Fatal(err)
		}
		n, err := FindNginx(t.Context(), root.Nginx(), nil)
		if err != nil {
			t.Fatal(err)
		}
		want[n.Version+" reload"], want[n.Version+" lua"] = 0, 0
		args = append(args, "--nginx", root.Nginx())
	}
	code, r := rows(t, args...)
	for _, row := range r.Results {
		want[row.Nginx+" "+row.Engine]++
		if !row.OK {
			t.Errorf("%+v", row)
		}
	}
	for name, n := range want {
		if n < 14 || len(want) != 6 {
			t.Errorf("%s: %d rows, of %v", name, n, want)
		}
	}
	if code != 0 || len(r.Notes) != 0 {
		t.Errorf("exit code %d, notes %q", code, r.Notes)
	}
}

// The cases that tell one way of balancing from another see it also where Lua does the balancing: with a template that
// keeps the Lua code out, the engine is not live, and that is said.
func TestTemplateThatIsNotLive(t *testing.T) {
	templates := files(t, map[string]string{"mine.conf.tmpl": plainTemplate})
	code, r := rows(t, "--templates", templates, "--engine", "lua", "--only", "hash-uri")
	if code != 0 || len(r.Results) != 1 || !strings.Contains(strings.Join(r.Notes, "\n"), "servers change by reloads") {
		t.Errorf("exit code %d: %+v", code, r)
	}
}

// An Nginx without Lua plays no Lua rows, and that is said.
func TestNginxWithoutLua(t *testing.T) {
	nginx, err := exec.LookPath("nginx")
	if err != nil {
		t.Fatal("nginx is not installed: run `make deps`")
	}
	// It says that its modules are somewhere else.
	fake := filepath.Join(t.TempDir(), "nginx")
	script := fmt.Sprintf("#!/bin/sh\n[ \"$1\" = -V ] && { echo 'nginx version: nginx/9.9.9' >&2; exit; }\nexec %s \"$@\"\n", nginx)
	if err := os.WriteFile(fake, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	code, r := rows(t, "--nginx", fake, "--nginx", nginx, "--engine", "lua", "--only", "one-node")
	if code != 0 || len(r.Results) != 1 || len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "nginx 9.9.9 has no Lua") {
		t.Errorf("exit code %d: %+v", code, r)
	}
	if code, _, said := lbdTest(t, "--nginx", fake, "--modules", "echo"); code != 2 || !strings.Contains(said, "give the module's path") {
		t.Errorf("exit code %d: %s", code, said)
	}
}

// Modules and files at http level are there for the templates that need them.
func TestModulesAndIncludes(t *testing.T) {
	dir := files(t, map[string]string{
		"t/mine.conf.tmpl": plainTemplate + "\nmap $host $mine { default $theirs; }\nserver { listen 127.0.0.1:81; log_format mine \"$mine\"; }\n",
		"theirs.conf":      "map_hash_bucket_size 128;\nmap $uri $theirs { default none; }\n",
		"one.yaml":         "shows: one node\nnodes: [{id: a, address: 10.0.0.1}]",
	})
	common := []string{"--templates", filepath.Join(dir, "t"), "--cases", dir}
	code, out, _ := lbdTest(t, common...)
	if code != 1 || !strings.Contains(out, "mine.conf.tmpl:") {
		t.Errorf("without the file: exit code %d\n%s", code, out)
	}
	with := append(common, "--include", filepath.Join(dir, "theirs.conf"), "--modules", "ndk_http_module,ngx_http_lua_module.so")
	if err := os.WriteFile(filepath.Join(dir, "t", "mine.conf.tmpl"), []byte(plainTemplate+"map $host $mine { default $theirs; }\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if code, out, _ := lbdTest(t, with...); code != 0 {
		t.Errorf("exit code %d\n%s", code, out)
	}
	if code, out, _ := lbdTest(t, append(with, "--modules", "no_such_module")...); code != 1 || !strings.Contains(out, "no_such_module.so") {
		t.Errorf("exit code %d\n%s", code, out)
	}
}

// Nginx reads a variable NGINX as its list of inherited listeners; people use the name for other things.
func TestVariableOfThatName(t *testing.T) {
	t.Setenv("NGINX", "/usr/sbin/nginx")
	if code, out, said := lbdTest(t, "--only", "one-node"); code != 0 {
		t.Errorf("exit code %d\n%s%s", code, out, said)
	}
}

// Where there is no Nginx the ways to have one are told.
func TestNoNginx(t *testing.T) {
	for args, want := range map[string]string{
		"--nginx-binary /nonexistent/nginx":           "--nginx none",
		"--nginx /nonexistent/nginx":                  "apt-get install nginx",
		"--nginx /bin/true":                           "is it Nginx?",
		"--nginx none --only one-nod":                 "nothing is left to play",
		"--network sideways":                          "--network",
		"--engine sideways":                           "--engine",
		"-o yaml":                                     "table or json",
		"--templates /nonexistent":                    "/nonexistent",
		"more":                                        `"more" is one word too many`,
		"--fixture /nonexistent":                      "/nonexistent",
		"--nginx none --include /nonexistent --helpp": "unknown flag",
	} {
		code, out, said := lbdTest(t, strings.Fields(args)...)
		if code != 2 || out != "" || !strings.Contains(said, want) {
			t.Errorf("%s: exit code %d, want … %s …\n%s%s", args, code, want, out, said)
		}
	}
	code, r := rows(t, "--nginx", "none")
	if code != 0 || len(r.Results) < 14 || r.Results[0].Golden != goldenSame || r.Results[0].Requests != 0 {
		t.Errorf("--nginx none: exit code %d: %+v", code, r)
	}
	code, out, _ := lbdTest(t, "--help")
	if code != 0 || !strings.Contains(out, "--write-cases folder") || strings.Contains(out, "--redis-url") {
		t.Errorf("exit code %d\n%s", code, out)
	}
}
