package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"time"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/pool"
)

// Config is what an agent is told. Begin with Defaults: the zero value of most fields is no setting.
type Config struct {
	Redis               pool.Config       `yaml:"redis"`
	NodeID              string            `yaml:"node_id"`               // default: the host name
	DataCenter          string            `yaml:"data_center"`           // default "default"
	Address             string            `yaml:"address"`               // where load balancers send to; "": the source address of the connection to Redis
	NodePort            uint16            `yaml:"node_port"`             // of the application; default 8000; 0: the load balancers' own setting
	Labels              map[string]string `yaml:"labels"`                // see pool.CheckLabels
	Weight              int               `yaml:"weight"`                // 0 (no traffic) to pool.MaxWeight; default 1
	HeartbeatInterval   Duration          `yaml:"heartbeat_interval"`    // also of samples and health checks; default 10s
	HeartbeatTTL        Duration          `yaml:"heartbeat_ttl"`         // a node silent for so long gets no traffic; default 30s
	CommandPollInterval Duration          `yaml:"command_poll_interval"` // pause after Redis failed to give commands; default 5s
	CPUThreshold        float64           `yaml:"cpu_threshold"`         // percent; busier than this freezes; 100: never; default 90
	MemoryThreshold     float64           `yaml:"memory_threshold"`      // percent; fuller than this freezes; 100: never; default 85
	ThresholdFall       int               `yaml:"threshold_fall"`        // samples in a row above a threshold that freeze the node; default 2
	ThresholdRise       int               `yaml:"threshold_rise"`        // samples in a row at or below it that bring it back; default 3
	AppDir              string            `yaml:"app_dir"`               // the application's folder; its file system is the disk of the heartbeat; default /opt/app
	ComposeFile         string            `yaml:"compose_file"`          // kept for the service commands; default docker-compose.yml
	StateDir            string            `yaml:"state_dir"`             // what must outlive a run; "": nothing does; default DefaultStateDir
	Checks              []Check           `yaml:"checks"`
	Start               string            `yaml:"start"`         // active (default) or frozen: how a node that Redis does not know begins
	DrainTimeout        Duration          `yaml:"drain_timeout"` // most that the end waits for load balancers; 0: not at all; default 30s

	Policy `yaml:",inline"` // what commands may do

	// For programs that import the package.
	Log     *slog.Logger                                `yaml:"-"` // default slog.Default()
	Sampler func(context.Context) (pool.Metrics, error) `yaml:"-"` // default: this machine, by gopsutil
	Notify  *cli.Notifier                               `yaml:"-"` // hears how the agent does; default: nobody

	rules *rules `yaml:"-"` // Policy, as check prepared it
}

// Defaults returns the settings of an agent that is told nothing.
func Defaults() Config {
	host, _ := os.Hostname() // without one, check asks for --node-id
	return Config{
		Redis:               pool.Config{URL: pool.DefaultURL},
		NodeID:              host,
		DataCenter:          "default",
		NodePort:            8000,
		Weight:              1,
		HeartbeatInterval:   Duration(10 * time.Second),
		HeartbeatTTL:        Duration(30 * time.Second),
		CommandPollInterval: Duration(5 * time.Second),
		CPUThreshold:        90,
		MemoryThreshold:     85,
		ThresholdFall:       fall,
		ThresholdRise:       rise,
		AppDir:              "/opt/app",
		ComposeFile:         "docker-compose.yml",
		StateDir:            DefaultStateDir,
		Policy:              defaultPolicy(),
		Start:               StartActive,
		DrainTimeout:        Duration(30 * time.Second),
	}
}

// How a node begins that Redis does not know; one that it knows goes on as it was.
const (
	StartActive = "active" // once its checks have passed
	StartFrozen = "frozen" // until an operator unfreezes it
)

const (
	intervalLeast  = Duration(100 * time.Millisecond)
	dataCenterMost = 256 // bytes
)

// check returns what the checks run, or everything that is wrong with the settings, by their names in a config file.
func (c *Config) check() ([]probe, error) {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if err := pool.CheckID(c.NodeID); err != nil {
		wrong("node_id: %w; set --node-id (the default is the host name)", err)
	}
	if len(c.DataCenter) > dataCenterMost {
		wrong("data_center is longer than %d bytes", dataCenterMost)
	}
	if c.Address != "" {
		if _, err := parseAddress(c.Address); err != nil {
			wrong("%w", err)
		}
	}
	if err := pool.CheckLabels(c.Labels); err != nil {
		wrong("labels: %w", err)
	}
	if c.Weight < 0 || c.Weight > pool.MaxWeight {
		wrong("weight %d is not a number from 0 to %d", c.Weight, pool.MaxWeight)
	}
	if c.HeartbeatInterval < intervalLeast {
		wrong("heartbeat_interval %v is shorter than %v", c.HeartbeatInterval, intervalLeast)
	}
	if c.HeartbeatTTL <= c.HeartbeatInterval {
		wrong("heartbeat_ttl %v must be longer than heartbeat_interval %v: three times as long lets Redis blink", c.HeartbeatTTL, c.HeartbeatInterval)
	}
	if c.CommandPollInterval < intervalLeast {
		wrong("command_poll_interval %v is shorter than %v", c.CommandPollInterval, intervalLeast)
	}
	if c.Start != StartActive && c.Start != StartFrozen {
		wrong("start %q is neither active nor frozen", c.Start)
	}
	if !isThreshold(c.CPUThreshold) {
		wrong("cpu_threshold %v is not a percentage above 0, up to 100", c.CPUThreshold)
	}
	if !isThreshold(c.MemoryThreshold) {
		wrong("memory_threshold %v is not a percentage above 0, up to 100", c.MemoryThreshold)
	}
	if !isCount(c.ThresholdFall) {
		wrong("threshold_fall %d is not a number from 1 to %d", c.ThresholdFall, countMost)
	}
	if !isCount(c.ThresholdRise) {
		wrong("threshold_rise %d is not a number from 1 to %d", c.ThresholdRise, countMost)
	}
	var err error
	if c.rules, err = c.Policy.prepare(); err != nil {
		errs = append(errs, err)
	}
	probes, err := prepareChecks(c.Checks, host{appDir: c.AppDir, path: searchPath})
	return probes, errors.Join(append(errs, err)...)
}

func isThreshold(percent float64) bool { return percent > 0 && percent <= 100 }

// isCount reports whether n answers in a row may be asked for.
func isCount(n int) bool { return n >= 1 && n <= countMost }

// parseAddress takes any unicast address, loopback and link-local too: the operator knows who has to reach it.
func parseAddress(s string) (netip.Addr, error) {
	a, err := pool.ParseAddress(s)
	if err == nil && (a.IsUnspecified() || a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255})) {
		err = fmt.Errorf("address %s is not one node's address", a)
	}
	return a, err
}
