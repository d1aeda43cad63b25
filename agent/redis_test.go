package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
	"github.com/bazbeans/bazbeans/pool"
)

func TestLifeInRedis(t *testing.T) {
	t.Parallel()
	srv := serverstest.Redis(t)
	k := dial(t, srv)
	next := k.events()
	a := startReal(t, realConfig(srv.URL()))

	const active = `,"event":"node_registered","node_id":"n1","node_port":8000,"reason":""}`
	if got := next(); got != `{"active_count":1,"active_nodes":["n1"],"by":"agent","data_center":"dc1"`+active {
		t.Errorf("event %s", got)
	}
	k.equal(`["n1"]`, "SMEMBERS", "bazbeans:nodes:all")
	k.equal(`["n1"]`, "SMEMBERS", "bazbeans:nodes:active")
	k.equal("10.0.0.1", "HGET", "bazbeans:node_ips", "n1")
	k.equal(`["active","dc1","false","true","10.0.0.1","8000","1","{\"zone\":\"a\"}"]`, "HMGET", "bazbeans:node:n1:status",
		"status", "data_center", "is_frozen", "is_active", "address", "port", "weight", "labels")
	serverstest.Eventually(t, soon, func() error {
		var beat map[string]any
		if err := json.Unmarshal([]byte(k.do("GET", "bazbeans:node:n1:heartbeat")), &beat); err != nil {
			return err
		}
		if age := time.Since(time.UnixMilli(int64(beat["timestamp"].(float64) * 1000))); age > soon || age < -time.Second {
			t.Errorf("heartbeat is %v old", age)
		}
		if !strings.HasSuffix(beat["instance"].(string), "/"+a.instance) {
			t.Errorf("instance %q", beat["instance"])
		}
		delete(beat, "timestamp")
		delete(beat, "instance")
		got := toJSON(t, beat)
		if want := `{"addr":"10.0.0.1","agent":"` + cli.Version() + `","cpu_percent":12.5,"data_center":"dc1","disk_percent":56,"is_active":true,` +
			`"is_frozen":false,"memory_percent":34,"node_id":"n1"}`; got != want {
			return fmt.Errorf("heartbeat %s, want %s", got, want)
		}
		return nil
	})
	if ttl := k.rdb.PTTL(t.Context(), "bazbeans:node:n1:heartbeat").Val(); ttl <= 0 || ttl > 30*time.Second {
		t.Errorf("heartbeat lives for %v", ttl)
	}

	k.do("FLUSHALL")
	if got := next(); got != `{"active_count":1,"active_nodes":["n1"],"by":"agent","data_center":"dc1"`+active {
		t.Errorf("event after a flush %s", got)
	}
	k.equal("10.0.0.1", "HGET", "bazbeans:node_ips", "n1")

	a.cancel()
	if got := next(); got != `{"active_count":0,"active_nodes":[],"by":"agent","event":"node_removed","node_id":"n1","reason":"agent stopped"}` {
		t.Errorf("event %s", got)
	}
	if err := <-a.ended; err != nil {
		t.Errorf("run: %v", err)
	}
	k.equal(`["n1"]`, "SMEMBERS", "bazbeans:nodes:all")
	k.equal("[]", "SMEMBERS", "bazbeans:nodes:active")
	k.equal("0", "EXISTS", "bazbeans:node:n1:heartbeat")
}

func TestFreezesItselfInRedis(t *testing.T) {
	t.Parallel()
	srv := serverstest.Redis(t)
	k := dial(t, srv)
	next := k.events()
	cfg := realConfig(srv.URL())
	machine := &figures{}
	cfg.Sampler = machine.sample
	startReal(t, cfg)
	next()
	machine.set(97, 50)
	if got := next(); got != `{"active_count":0,"active_nodes":[],"by":"agent","event":"node_frozen","node_id":"n1","reason":"cpu 97.0% is above 90%"}` {
		t.Errorf("event %s", got)
	}
	k.equal("true", "HGET", "bazbeans:node:n1:status", "is_frozen")
	machine.set(5, 50)
	if got := next(); got != `{"active_count":1,"active_nodes":["n1"],"by":"agent","event":"node_unfrozen","node_id":"n1","reason":""}` {
		t.Errorf("event %s", got)
	}
}

// The commands are pushed as the original system's CLI does.
func TestCommandsOfThePythonCLI(t *testing.T) {
	t.Parallel()
	srv := serverstest.Redis(t)
	k := dial(t, srv)
	next := k.events()
	a := newReal(t, realConfig(srv.URL()))
	a.HealthCheck("app", func(context.Context) error { return nil })
	a.run(t)
	next()
	push := func(command string) { k.do("RPUSH", "bazbeans:node:n1:commands", command) }
	status := []any{"HGET", "bazbeans:node:n1:status", "status"}

	push(`{"type": "freeze", "reason": "maintenance"}`)
	if got := next(); got != `{"active_count":0,"active_nodes":[],"by":"queue","event":"node_frozen","node_id":"n1","reason":"maintenance"}` {
		t.Errorf("event %s", got)
	}
	k.wait("executed_freeze", status...)
	k.equal("[]", "SMEMBERS", "bazbeans:nodes:active")
	var freeze pool.Freeze
	if err := json.Unmarshal([]byte(k.do("HGET", "bazbeans:nodes:frozen", "n1")), &freeze); err != nil || freeze.By != "queue" || freeze.Reason != "maintenance" {
		t.Errorf("freeze %+v, error %v", freeze, err)
	}

	push(`not JSON`)
	push(`{"type": "exec", "command": "docker ps"}`)
	k.wait("executed_exec", status...)
	details := func(want string) {
		t.Helper()
		got := regexp.MustCompile(`py-[A-Z0-9]{26}`).ReplaceAllString(k.do("HGET", "bazbeans:node:n1:status", "details"), "ID")
		if got != want {
			t.Errorf("details\n%s\nwant\n%s", got, want)
		}
	}
	details(`{"status":"refused","id":"ID","error":"exec needs a signature by one of the node's trusted_keys (bbctl keygen makes a key), or its type in the node's allow_unsigned"}`)
	if a.log.count("command thrown away") != 1 {
		t.Error("the log does not say that a command was no command")
	}

	push(`{"type": "health_check"}`)
	k.wait("executed_health_check", status...)
	details(`{"status":"completed","id":"ID","result":{"healthy":true,"cpu_percent":12.5,"memory_percent":34,"disk_percent":56,"checks":{"app":"ok"}}}`)

	push(`{"type": "unfreeze"}`)
	if got := next(); got != `{"active_count":1,"active_nodes":["n1"],"by":"queue","event":"node_unfrozen","node_id":"n1","reason":""}` {
		t.Errorf("event %s", got)
	}
	k.wait("executed_unfreeze", status...)
	k.equal("0", "EXISTS", "bazbeans:nodes:frozen")
}

func TestUnfreezeLeavesTheNodesOwnFreeze(t *testing.T) {
	t.Parallel()
	srv := serverstest.Redis(t)
	k := dial(t, srv)
	a := newReal(t, realConfig(srv.URL()))
	a.HealthCheck("app", func(context.Context) error { return errSick })
	a.run(t)
	k.wait("true", "HGET", "bazbeans:node:n1:status", "is_frozen")
	k.equal("check app: no answer from the application", "HGET", "bazbeans:node:n1:status", "details")
	k.do("RPUSH", "bazbeans:node:n1:commands", `{"type": "unfreeze"}`)
	k.wait("executed_unfreeze", "HGET", "bazbeans:node:n1:status", "status")
	k.equal("true", "HGET", "bazbeans:node:n1:status", "is_frozen")
	if details := k.do("HGET", "bazbeans:node:n1:status", "details"); !strings.Contains(details, `"stays_frozen":"check app: no answer from the application"`) {
		t.Errorf("details %s", details)
	}
}
