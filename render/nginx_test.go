package render_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// nginxConf includes one rendered file and touches nothing outside its prefix. Even a test opens the listener, and a
// unix socket's path is relative to the working directory.
const nginxConf = `pid nginx.pid;
error_log stderr;
events {}
http {
    access_log off;
    client_body_temp_path temp; proxy_temp_path temp; fastcgi_temp_path temp; uwsgi_temp_path temp; scgi_temp_path temp;
    include upstream.conf;
    server { listen unix:nginx.sock; location / { proxy_pass http://app_backend; } }
}
`

// nginxTest lets the real nginx test a file that lbd would install.
func nginxTest(t testing.TB, rendered []byte) {
	t.Helper()
	nginx, err := exec.LookPath("nginx")
	if err != nil {
		t.Fatal("nginx is not installed: run `make deps`")
	}
	dir := t.TempDir()
	for name, text := range map[string][]byte{"nginx.conf": []byte(nginxConf), "upstream.conf": rendered} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(nginx, "-e", "stderr", "-p", dir, "-c", filepath.Join(dir, "nginx.conf"), "-t")
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("nginx refuses it: %s\n%s", out, rendered)
	}
}
