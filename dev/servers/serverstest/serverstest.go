// Package serverstest starts real servers for a test: each ends with the test,
// its folder goes too, and a program that is not installed fails the test with
// what to install. It never skips.
package serverstest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/dev/servers"
)

// Redis starts a redis-server on a free port; args are added to its command
// line ("--appendonly", "yes").
func Redis(t testing.TB, args ...string) *servers.Redis {
	t.Helper()
	return RedisTLS(t, nil, args...)
}

// RedisTLS is Redis that speaks TLS only and wants a client's certificate;
// without certs it speaks none.
func RedisTLS(t testing.TB, certs *servers.Certificates, args ...string) *servers.Redis {
	t.Helper()
	r, err := servers.StartRedis(t.Context(), servers.RedisOptions{Dir: Dir(t), Args: args, TLS: certs})
	if err != nil {
		t.Fatal(err)
	}
	atEnd(t, r.LogTail, r.Kill)
	return r
}

// Certificates makes a certificate authority and what it signs, for this test.
func Certificates(t testing.TB) *servers.Certificates {
	t.Helper()
	c, err := servers.NewCertificates(Dir(t))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Sentinels starts a Redis, its replica and three Sentinels; an empty Dir in
// opts becomes a folder of the test.
func Sentinels(t testing.TB, opts servers.SentinelOptions) *servers.Sentinels {
	t.Helper()
	if opts.Dir == "" {
		opts.Dir = Dir(t)
	}
	s, err := servers.StartSentinels(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	atEnd(t, s.LogTail, s.Kill)
	return s
}

// Cluster starts a Redis Cluster of three masters; args are added to the
// command line of each.
func Cluster(t testing.TB, certs *servers.Certificates, args ...string) *servers.Cluster {
	t.Helper()
	c, err := servers.StartCluster(t.Context(), Dir(t), certs, args...)
	if err != nil {
		t.Fatal(err)
	}
	atEnd(t, c.LogTail, c.Kill)
	return c
}

// Nginx starts nginx; an empty Dir in opts becomes a folder of the test.
func Nginx(t testing.TB, opts servers.NginxOptions) *servers.Nginx {
	t.Helper()
	if opts.Dir == "" {
		opts.Dir = Dir(t)
	}
	n, err := servers.StartNginx(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	atEnd(t, n.LogTail, n.Kill)
	return n
}

// atEnd kills the server when the test is over: nothing that it could still
// do in order is of use to anybody. A failed test shows the end of its log.
func atEnd(t testing.TB, logTail func() string, kill func() error) {
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the server's log ends:\n%s", logTail())
		}
		if err := kill(); err != nil {
			t.Error(err)
		}
	})
}

// EndDaemons ends the nginx masters that pid files in dir name, in that order,
// and returns when they and their workers are gone: what is left of one would
// go on in a folder that the test removes. A master that outlives a younger
// one takes that one's pid file back, so name the older one's first. A file
// that is not there, or whose process has not dir in its command line, is none.
func EndDaemons(t testing.TB, dir string, pidFiles ...string) {
	t.Helper()
	for _, name := range pidFiles {
		text, _ := os.ReadFile(filepath.Join(dir, name))
		pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil {
			continue
		}
		ours := func() bool { // one that has ended and was not waited for has no command line
			line, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
			return strings.Contains(string(line), dir)
		}
		if !ours() {
			continue
		}
		if err := syscall.Kill(pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Errorf("end process %d: %v", pid, err)
			continue
		}
		Eventually(t, time.Minute, func() error {
			if ours() {
				return fmt.Errorf("process %d lives", pid)
			}
			return nil
		})
	}
}

// Dir makes a folder that goes with the test. Unlike t.TempDir its path is
// short, whatever the test's name: a unix socket's path may have 107 bytes.
func Dir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "bb")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// Ports returns n free ports on loopback.
func Ports(t testing.TB, n int) []int {
	t.Helper()
	ports, err := servers.FreePorts(n)
	if err != nil {
		t.Fatal(err)
	}
	return ports
}

// Eventually asks until the condition returns nil, and fails the test with its
// last answer when it has not within that time. It asks at once, then after 1
// to 5 ms. The condition runs on the test's goroutine.
func Eventually(t testing.TB, within time.Duration, condition func() error) {
	t.Helper()
	deadline := time.Now().Add(within)
	for pause := time.Millisecond; ; pause = min(pause+time.Millisecond, 5*time.Millisecond) {
		err := condition()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %v", within, err)
		}
		time.Sleep(pause)
	}
}
