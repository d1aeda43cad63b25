package nginxtest

import (
	"context"
	"net"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// With resolve, an Nginx that is started while lbd runs begins with server lines beside the name, until it has asked. These
// don't stay: a node that is frozen later gets nothing by them.
func TestNamesNginxIsStarted(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{nodes: []string{"web1", "web2", "web3"}, engine: "resolve", debian: "sid"})
	for range 2 {
		if err := s.nginx.Kill(); err != nil {
			t.Fatal(err)
		}
		s.want("/readyz", 503)
		s.bbctl("freeze", "web3") // a change while it is down: what is installed then is for its start
		ctx, cancel := context.WithTimeout(t.Context(), soon)
		err := s.nginx.Restart(ctx)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		s.want("/readyz", 200)
		s.bbctl("freeze", "web3", "--wait") // the last worker that began with the lines has ended
		s.wantAnswersFrom("web1", "web2")
		s.bbctl("freeze", "web1", "--wait")
		frozen := time.Now()
		s.wantAnswersFrom("web2")
		s.nodes["web1"].wantNoMore(frozen)
		s.bbctl("unfreeze", "web1", "web3", "--wait")
		s.wantAnswersFrom("web1", "web2", "web3")
	}
}

// What holds for all servers of an upstream stands on the line with the name: a change of it is a reload.
func TestNamesServerParameters(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{nodes: []string{"web1", "web2"}, engine: "resolve", debian: "sid"})
	reloads := s.reloads()
	s.configure(strings.Replace(read(t, s.balancer.conf), "name: app_backend,", "name: app_backend, server: {max_fails: 7},", 1))
	s.lbd.signal(syscall.SIGHUP)
	s.wantText("resolve max_fails=7")
	s.want("/readyz", 200)
	if now := s.reloads(); now != reloads+1 {
		t.Errorf("%d reloads for one change of a parameter", now-reloads)
	}
}

// A connection to a node that another user's program keeps open, like a health checker's, is none of Nginx's: no drain waits
// for it.
func TestNamesOthersConnections(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{nodes: []string{"web1", "web2"}, engine: "resolve", debian: "sid"})
	conn, err := net.Dial("tcp", s.nodes["web1"].app.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	s.want("/status", 200, `"web1": 1`) // Nginx's own, as far as lbd can tell
	socket, err := conn.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	if err := socket.Chown(65534, -1); err != nil {
		t.Fatalf("run this as root: %v", err)
	}
	s.bbctl("freeze", "web1", "--wait")
}

// Another program has the port of nginx.names when lbd starts: check and doctor say what the lbd at work does, and once the
// port is free, that it would be live.
func TestNamesPortIsTaken(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{nodes: []string{"web1", "web2"}, engine: "resolve", debian: "sid"})
	s.want("/status", 200, `"name": "resolve"`)
	s.run("check").want(t, 0, "ok    apply      resolve\n") // the port is its own
	s.run("doctor").want(t, 0, "changes go in live: resolve\n")
	s.lbd.stop()

	at := regexp.MustCompile(`names: "(.*?)"`).FindStringSubmatch(read(t, s.balancer.conf))[1]
	ln, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	const taken = "address already in use (choose another nginx.names)"
	s.run("check").want(t, 1, "FAIL  apply      nginx.apply is live, and every change is a reload: not resolve: ", taken)
	s.start()
	s.want("/status", 200, `"name": "reload"`, taken)
	s.run("check").want(t, 1, "FAIL  apply      nginx.apply is live, and every change is a reload: not resolve: ", taken)
	s.run("doctor").want(t, 0, "changes go in by reloads: not resolve: ", "names: 127.0.0.1:")
	ln.Close()
	s.run("check").want(t, 1, "FAIL  apply      nginx.apply is live, and every change is a reload: not resolve: ", taken)
	s.run("doctor").want(t, 0, "with this config it would be resolve", "kill -HUP ")
	s.lbd.signal(syscall.SIGHUP)
	s.want("/status", 200, `"name": "resolve"`)
	s.run("check").want(t, 0, "ok    apply      resolve\n")
}
