package agent

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// bind ties the flags to a config whose values are their defaults.
func bind(fs *pflag.FlagSet, c *Config) {
	fs.StringVar(&c.Redis.URL, "redis-url", c.Redis.URL, "`url` of Redis: redis://, rediss:// or unix://")
	fs.StringVar(&c.NodeID, "node-id", c.NodeID, "`id` of this node (default: the host name)")
	fs.StringVar(&c.DataCenter, "data-center", c.DataCenter, "`name` of the data center")
	fs.StringVar(&c.Address, "address", c.Address, "`IP` that load balancers send to (default: the source address of the connection to Redis)")
	fs.Uint16Var(&c.NodePort, "node-port", c.NodePort, "`port` of the application; 0: as the load balancers are set")
	fs.Var(labels{&c.Labels}, "label", "label as `k=v`; repeatable, beats the same label of the file")
	fs.IntVar(&c.Weight, "weight", c.Weight, "share of the traffic; 0: none")
	fs.Var(&c.HeartbeatInterval, "heartbeat-interval", "between heartbeats; a bare number is seconds")
	fs.Var(&c.HeartbeatTTL, "heartbeat-ttl", "after so long without a heartbeat the node gets no traffic")
	fs.Var(&c.CommandPollInterval, "command-poll-interval", "pause after Redis failed to give commands; otherwise they are taken at once")
	fs.Float64Var(&c.CPUThreshold, "cpu-threshold", c.CPUThreshold, "`percent`; freeze while the CPUs are busier; 100: never")
	fs.Float64Var(&c.MemoryThreshold, "memory-threshold", c.MemoryThreshold, "`percent`; freeze while memory is fuller; 100: never")
	fs.StringVar(&c.AppDir, "app-dir", c.AppDir, "`folder` of the application; its file system is the disk that heartbeats show")
	fs.StringVar(&c.ComposeFile, "compose-file", c.ComposeFile, "`file` that start, stop, restart, update, pull, logs and status go by, below app-dir unless absolute")
	fs.StringVar(&c.StateDir, "state-dir", c.StateDir, "`folder` for what the agent keeps over a restart")
	fs.StringVar(&c.Start, "start", c.Start, "`active` or frozen: how a node begins that Redis does not know yet")
	fs.Var(&c.DrainTimeout, "drain-timeout", "most that the end waits for load balancers; 0: it leaves at once")
	fs.Lookup("node-id").DefValue = "" // the text says it; a host's name in a help text confuses
}

// labels is the --label flag: it adds to the file's labels.
type labels struct{ to *map[string]string }

func (l labels) Type() string { return "k=v" }

func (l labels) Set(s string) error {
	k, v, ok := strings.Cut(s, "=")
	if !ok || k == "" {
		return errors.New("write it as k=v")
	}
	if *l.to == nil {
		*l.to = map[string]string{}
	}
	(*l.to)[k] = v
	return nil
}

func (l labels) String() string {
	if l.to == nil {
		return ""
	}
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(*l.to)) {
		parts = append(parts, fmt.Sprintf("%s=%s", k, (*l.to)[k]))
	}
	return strings.Join(parts, ",")
}
