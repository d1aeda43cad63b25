package nginxtest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/dev/servers"
	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
)

// A template whose output Nginx takes by reloads and not live costs its own upstream the live engine, and no other; its
// mended version is live at once.
func TestLiveTemplateAtFault(t *testing.T) {
	t.Parallel()
	for _, engine := range []struct{ name, debian string }{{"lua", ""}, {"resolve", "sid"}} {
		t.Run(engine.name, func(t *testing.T) {
			t.Parallel()
			other := servers.Loopback(serverstest.Ports(t, 1)[0])
			s := newSite(t, options{nodes: []string{"web1", "web2"}, engine: engine.name, debian: engine.debian, files: map[string]string{
				"conf.d/upstream.conf": "upstream app_backend { server 127.0.0.1:9 down; }\n",
				"conf.d/other.conf":    "upstream other { server 127.0.0.1:9 down; }\n",
				"conf.d/site.conf":     "server { listen " + other + "; location / { proxy_pass http://other; } }\n",
			}})
			s.lbd.stop()
			template := filepath.Join(s.balancer.dir, "templates", "own.tmpl")
			const own = "upstream {{.Name}} {\n zone {{.Name}} {{.ZoneSize}};\n{{range .Servers}}  server {{.Addr}}{{.Params}};\n{{end}}{{with .Live}}{{.}}\nAFTER{{end}}}\n"
			write(t, template, strings.Replace(own, "AFTER", "keepalive_requests many;", 1))
			s.configure(strings.Replace(read(t, s.balancer.conf), "upstreams: [", "upstreams: [{name: other, template: own.tmpl, output: "+filepath.Dir(s.output)+"/other.conf}, ", 1))
			s.start()
			s.want("/readyz", 200)
			s.want("/status", 200, fmt.Sprintf("%q: %q", "name", engine.name), `"other": "nginx refuses the live output of template own.tmpl`, "keepalive_requests")
			s.lbd.wantLog("an upstream changes by reloads")
			s.run("check").want(t, 0, "upstream other changes by reloads", "own.tmpl")
			s.run("doctor").want(t, 0, "upstream other changes by reloads", "own.tmpl")

			reloads := s.reloads()
			s.bbctl("freeze", "web1", "--wait")
			s.wantAnswersFrom("web2")
			from(t, other, "web2")
			if s.reloads() == reloads {
				t.Error("no reload, and the upstream at fault goes by reloads")
			}
			write(t, template, strings.Replace(own, "AFTER", "", 1))
			s.want("/status", 200, `"by_reload": {}`)
			s.want("/readyz", 200)
			reloads = s.reloads()
			s.bbctl("unfreeze", "web1", "--wait")
			s.wantAnswersFrom("web1", "web2")
			from(t, other, "web1", "web2")
			if now := s.reloads(); now != reloads {
				t.Errorf("%d reloads for changes of the set", now-reloads)
			}
		})
	}
}

// What looks makes no folder for the control socket: that is for an lbd that serves.
func TestLooksMakeNoLiveFolder(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{nodes: []string{"web1"}, engine: "lua"})
	elsewhere := filepath.Join(s.dir, "elsewhere")
	s.run("check", "--state-dir", elsewhere).want(t, 0, "apply      lua")
	s.run("doctor", "--state-dir", elsewhere).want(t, 0, "changes go in live: lua", "with lbd's files too")
	s.run("render", "--state-dir", elsewhere).want(t, 0, "listen unix:"+elsewhere+"/live/control.sock;")
	if _, err := os.Lstat(filepath.Join(elsewhere, "live")); !os.IsNotExist(err) {
		t.Errorf("there is a folder: %v", err)
	}
}

// Somebody removes the folder of the control socket: lbd says what that is and what it is not, makes the folder again, so that
// `nginx -t` passes, and the next change goes in by a reload.
func TestLiveFolderRemoved(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{nodes: []string{"web1", "web2"}, engine: "lua", config: "timing: {resync: 1h}\n"})
	traffic := s.traffic()
	s.bbctl("freeze", "web1", "--wait")
	folder := filepath.Join(s.balancer.dir, "state", "live") // its files are still to be written now
	if err := os.RemoveAll(folder); err != nil {
		t.Fatal(err)
	}
	s.want("/readyz", 503, "nginx runs, and can't be asked what it does", "control socket", "no such file")
	s.want("/status", 200, `"running": true`)
	serverstest.Eventually(t, soon, func() error { // the ack comes after that
		if out := s.bbctl("lbs"); !strings.Contains(out, "blind") || !strings.Contains(out, "nginx runs, and can't be asked") {
			return fmt.Errorf("bbctl lbs:\n%s", out)
		}
		return nil
	})
	serverstest.Eventually(t, soon, func() error {
		info, err := os.Stat(folder)
		if err == nil && info.Mode().Perm() != 0o700 {
			err = fmt.Errorf("%s: %s", folder, info.Mode())
		}
		return err
	})
	s.run("check").want(t, 0, "apply      lua")
	serverstest.Eventually(t, soon, func() error { // the files follow all the same
		if got := s.servers(s.output); !slices.Equal(got, []string{"web2"}) {
			return fmt.Errorf("%s has %q", s.output, got)
		}
		return nil
	})
	s.bbctl("unfreeze", "web1", "--wait")
	s.wantServers("web1", "web2")
	s.want("/readyz", 200)
	s.want("/status", 200, `"name": "reload"`, "nginx can't be told of peers")
	traffic.wantNoHarm()
	for _, wrong := range []string{"not running", "on disk", "close"} {
		if strings.Contains(s.lbd.log.String(), wrong) {
			t.Errorf("lbd said %q:\n%s", wrong, s.lbd.log.String())
		}
	}
}

// Another program's Lua code empties the dictionary: Nginx is told of its servers again at once, not at the next resync.
func TestLiveDictionaryEmptied(t *testing.T) {
	t.Parallel()
	other := servers.Loopback(serverstest.Ports(t, 1)[0])
	s := newSite(t, options{nodes: []string{"web1", "web2"}, engine: "lua", config: "timing: {resync: 1h}\n", files: map[string]string{
		"conf.d/upstream.conf": "upstream app_backend { server 127.0.0.1:9 down; }\n",
		"conf.d/other.conf": "server { listen " + other + `;
			location = /empty { content_by_lua_block { ngx.shared.bazbeans_1:flush_all() ngx.print("done") } }
			location = /holds { content_by_lua_block { ngx.print(ngx.shared.bazbeans_1:get("m") and "peers" or "nothing") } } }`,
	}})
	says := func(path, want string) {
		t.Helper()
		serverstest.Eventually(t, soon, func() error {
			code, got, _, err := get(t.Context(), "http://"+other+path)
			if err == nil && (code != 200 || got != want) {
				err = fmt.Errorf("%s: %d %s", path, code, got)
			}
			return err
		})
	}
	s.bbctl("freeze", "web1", "--wait")
	for range 2 {
		frozen := time.Now()
		says("/empty", "done")
		says("/holds", "peers")
		s.wantAnswersFrom("web2")
		s.nodes["web1"].wantNoMore(frozen)
	}
	s.wantAck()
}

// A file of the operator's is broken while changes go in live: they go on so, and what is said to be mended is the file.
func TestLiveBesideABrokenFile(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{nodes: []string{"web1", "web2"}, engine: "lua"})
	bad := filepath.Join(filepath.Dir(s.output), "bad.conf")
	write(t, bad, "nonsense;\n")
	s.bbctl("freeze", "web1", "--wait")
	s.run("check").want(t, 1, "ok    apply      lua, says the lbd that runs; what it would do once restarted is not known", bad+":1")
	if r := s.run("doctor"); !containsAll(r.stdout, "changes go in live: lua", "in "+bad+" at line 1", "# mend it") || strings.Contains(r.stdout, "apply: reload") {
		t.Error(r)
	}
}
