package agent

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
	"github.com/bazbeans/bazbeans/pool"
)

// The real binary is killed in the middle of a command. The next one says so and does not run it again; what was taken
// and not begun it runs, whether the command had an id or is one of the Python CLI.
func TestAgentKilledInTheMiddle(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		state bool // it has a state_dir: else Redis alone remembers
	}{{"with a state_dir", true}, {"without", false}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			srv := serverstest.Redis(t)
			o := newOperator(t, dial(t, srv), srv.URL())
			dir := t.TempDir()
			write := func(name, text string, mode os.FileMode) string {
				file := filepath.Join(dir, name)
				if err := os.WriteFile(file, []byte(text), mode); err != nil {
					t.Fatal(err)
				}
				return file
			}
			script := write("long", "#!/bin/sh\necho \"$1\" >> runs\n[ \"$1\" != first ] || { echo $$ > pid; exec sleep 600; }\n", 0o755)
			state := ""
			if c.state {
				state = dir
			}
			file := write("c.yaml", fmt.Sprintf("redis: {url: '%s'}\nnode_id: n1\naddress: 10.0.0.1\nheartbeat_interval: 1\nheartbeat_ttl: 30\ncpu_threshold: 100\nmemory_threshold: 100\n"+
				"app_dir: %s\nstate_dir: %q\nallow_unsigned: [exec]\nexec: {allow: [%s]}\n", srv.URL(), dir, state, script), 0o600)
			run := func(word string) pool.Command {
				return order("exec", map[string]any{"argv": []any{script, word}, "timeout": 60})
			}
			read := func(name string) string {
				b, _ := os.ReadFile(filepath.Join(dir, name))
				return strings.TrimSpace(strings.ReplaceAll(string(b), "\n", " "))
			}

			old, says := binary(t, "--config", file)
			says("node is active")
			first, second := run("first"), run("second")
			o.send(first, second)
			o.do("RPUSH", queueKey, `{"type": "exec", "command": "`+script+` third"}`)
			serverstest.Eventually(t, soon, func() error {
				if pid, waiting := read("pid"), o.do("LLEN", "bazbeans:node:n1:taken"); pid == "" || waiting != "3" {
					return fmt.Errorf("program %q runs, %s commands are in hand, want 3", pid, waiting)
				}
				return nil
			})
			if err := old.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = old.Wait() // it was killed
			var pid int
			if _, err := fmt.Sscan(read("pid"), &pid); err != nil {
				t.Fatal(err)
			}
			defer syscall.Kill(pid, syscall.SIGKILL) // nobody else does: its agent is gone

			young, says := binary(t, "--config", file)
			says("node is active")
			if r := o.result(first.ID); r.State != pool.Interrupted || r.Error == "" || r.Started.IsZero() || r.Ended.Before(r.Started) {
				t.Errorf("first: %+v", r)
			}
			if r := o.result(second.ID); r.State != pool.Succeeded {
				t.Errorf("second: %+v", r)
			}
			o.wait("0", "EXISTS", "bazbeans:node:n1:taken")
			if got := read("runs"); got != "first second third" {
				t.Errorf("run: %s", got)
			}
			last, err := o.pool.LastCommands(t.Context(), "n1", 10)
			if err != nil || len(last) != 3 || last[0].State != pool.Succeeded || !strings.HasPrefix(last[0].ID, "py-") {
				t.Errorf("last commands: %+v, %v", last, err)
			}
			if err := young.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			says("left the pool")
			if err := young.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
}

// Redis forgets all while a command runs, and the agent is killed: its journal still knows.
func TestAgentKilledAndRedisFlushed(t *testing.T) {
	t.Parallel()
	srv := serverstest.Redis(t)
	o := newOperator(t, dial(t, srv), srv.URL())
	cfg, marks := guardedConfig(t, o, srv.URL())
	a := newReal(t, cfg)
	stuck, release := make(chan struct{}), make(chan struct{})
	a.Handle("exec", func(ctx context.Context, c pool.Command) (any, error) {
		close(stuck)
		<-release
		return nil, nil
	})
	a.run(t)
	defer close(release)
	o.wait("active", "HGET", "bazbeans:node:n1:status", "status")
	c := o.sign(o.mark(cfg, "never"), o.key, nil)
	raw, err := c.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	o.send(c)
	<-stuck
	a.cancel() // as good as a kill: the handler does not heed it
	<-a.ended
	o.do("FLUSHALL")
	o.do("RPUSH", queueKey, string(raw)) // and somebody sends it again
	// The process that was killed would have let its lock go.
	a.state.lock.Close()
	startReal(t, cfg)
	if r := o.resultOnce(c.ID); r.State != pool.Interrupted {
		t.Errorf("%+v", r)
	}
	serverstest.Eventually(t, soon, func() error {
		if got := o.refusals(); len(got) != 1 || !strings.Contains(got[0], "seen before") {
			return fmt.Errorf("refusals %q", got)
		}
		return nil
	})
	if marks() != "" {
		t.Errorf("marks %q", marks())
	}
}

// A Redis that goes back in time (a failover to a replica that lagged, a crash) gives out again what ran already: it is
// not run twice, and its record, which says that it waits, is put right. Also by the next run of the agent.
func TestRedisGoesBackInTime(t *testing.T) {
	t.Parallel()
	srv := serverstest.Redis(t)
	o := newOperator(t, dial(t, srv), srv.URL())
	cfg, marks := guardedConfig(t, o, srv.URL())
	first := startReal(t, cfg)
	o.wait("active", "HGET", "bazbeans:node:n1:status", "status")
	first.cancel()
	<-first.ended
	good, bad := o.sign(o.mark(cfg, "once"), o.key, nil), o.sign(order("exec", map[string]any{"argv": []any{cfg.Exec.Allow[0] + "x"}}), o.key, nil)
	o.send(good, bad)
	keys := []string{"bazbeans:command:" + good.ID, "bazbeans:command:" + bad.ID, queueKey} // the queue last: it is taken from at once
	before := map[string]string{}
	for _, key := range keys {
		before[key] = o.do("DUMP", key)
	}
	back := func() {
		for _, key := range keys {
			o.do("RESTORE", key, 0, before[key], "REPLACE")
		}
	}
	for i := range 3 {
		if i > 0 {
			back()
		}
		a := startReal(t, cfg)
		for c, want := range map[*pool.Command]string{&good: "succeeded", &bad: "refused"} {
			if r := o.result(c.ID); string(r.State) != want || i > 0 && c == &good && !strings.Contains(r.Error, "it had ended before, and is not run again") {
				t.Errorf("%s: %+v, want %s", c.ID, r, want)
			}
		}
		if i == 1 { // and once more while the same agent runs
			back()
			if r := o.result(good.ID); r.State != pool.Succeeded || r.Took() < 0 || r.Started.IsZero() {
				t.Errorf("%+v", r)
			}
		}
		o.wait("0", "EXISTS", "bazbeans:node:n1:taken")
		a.cancel()
		<-a.ended
	}
	if marks() != "once" {
		t.Errorf("marks %q", marks())
	}
}

// resultOnce waits for a record to be there.
func (o *operator) resultOnce(id string) (r pool.Result) {
	o.t.Helper()
	serverstest.Eventually(o.t, soon, func() (err error) {
		r, err = o.pool.Result(o.t.Context(), id)
		return err
	})
	return r
}
