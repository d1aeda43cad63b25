package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The site's Nginx loads the modules of the variable, given by name, with what it takes from Lua; without the variable
// it loads what Debian has enabled.
func TestSitesModules(t *testing.T) {
	load := func(modules string) string {
		cmd := exec.Command("sh", "../site/modules.sh")
		cmd.Env = append(os.Environ(), "MODULES="+modules)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	if got := load(""); got != "include /etc/nginx/modules-enabled/*.conf;\n" {
		t.Errorf("without the variable: %s", got)
	}
	conf := filepath.Join(t.TempDir(), "nginx.conf")
	test := func(modules string) (said string, err error) {
		text := modules + "pid " + conf + ".pid;\nevents {}\nhttp { access_log off; lua_shared_dict mine 1m; }\n"
		if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("nginx", "-t", "-e", "stderr", "-p", filepath.Dir(conf), "-c", conf).CombinedOutput()
		return string(out), err
	}
	if said, err := test(""); err == nil {
		t.Errorf("nginx knows Lua without a module, so this shows nothing: %s", said)
	}
	byName := load("ndk_http_module,ngx_http_lua_module.so")
	if said, err := test(byName); err != nil {
		t.Errorf("%s%s", byName, said)
	}
	if byPath := load(strings.NewReplacer("load_module ", "", ";\n", ",").Replace(byName)); byPath != byName {
		t.Errorf("by path: %s, want %s", byPath, byName)
	}
}
