package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Check is a health check of the config: a name, exactly one kind, and when it runs.
type Check struct {
	Name    string        `yaml:"name"` // in the reason of a freeze
	HTTP    *HTTPCheck    `yaml:"http"`
	TCP     *TCPCheck     `yaml:"tcp"`
	Program *ProgramCheck `yaml:"program"`
	Systemd *SystemdCheck `yaml:"systemd"`
	Docker  *DockerCheck  `yaml:"docker"`
	Compose *ComposeCheck `yaml:"compose"`
	Process *ProcessCheck `yaml:"process"`
	Disk    *DiskCheck    `yaml:"disk"`
	Load    *LoadCheck    `yaml:"load"`
	Timing  `yaml:",inline"`
}

// Timing says when a check runs and what its answers come to. A zero field is the default.
type Timing struct {
	Interval Duration `yaml:"interval"` // between two runs; default: heartbeat_interval
	Timeout  Duration `yaml:"timeout"`  // of one run; default: the interval, 5s at most
	Fall     int      `yaml:"fall"`     // bad answers in a row that freeze the node; default 2 (1 for HealthCheck)
	Rise     int      `yaml:"rise"`     // good ones in a row that bring it back; default 3 (1 for HealthCheck)
}

const (
	timeoutMost = Duration(5 * time.Second) // unless a check says otherwise
	countMost   = 1000                      // of fall and rise
)

// or fills in the defaults.
func (t Timing) or(interval Duration, fall, rise int) Timing {
	if t.Interval == 0 {
		t.Interval = interval
	}
	if t.Timeout == 0 {
		t.Timeout = min(timeoutMost, t.Interval)
	}
	if t.Fall == 0 {
		t.Fall = fall
	}
	if t.Rise == 0 {
		t.Rise = rise
	}
	return t
}

func (t Timing) check() error {
	var errs []error
	if t.Interval != 0 && t.Interval < intervalLeast {
		errs = append(errs, fmt.Errorf("interval %v is shorter than %v", t.Interval, intervalLeast))
	}
	if t.Timeout < 0 {
		errs = append(errs, fmt.Errorf("timeout %v is negative", t.Timeout))
	}
	if t.Fall != 0 && !isCount(t.Fall) {
		errs = append(errs, fmt.Errorf("fall %d is not a number from 1 to %d", t.Fall, countMost))
	}
	if t.Rise != 0 && !isCount(t.Rise) {
		errs = append(errs, fmt.Errorf("rise %d is not a number from 1 to %d", t.Rise, countMost))
	}
	return errors.Join(errs...)
}

// probe looks once; nil is a good answer. It returns soon after ctx ends.
type probe func(ctx context.Context) error

// kind is what a check looks at. prepare returns what looks, or all that is wrong with the settings.
type kind interface {
	prepare(h host) (probe, error)
}

// host is what the kinds need of the agent's own settings.
type host struct {
	appDir string
	path   []string // where programs are looked for
}

// searchPath is not the environment's PATH: settings do not come from there, and the agent's may be any.
var searchPath = []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"}

// kinds are the kinds that the check has, by their keys; one of them, if it is right.
func (c *Check) kinds() map[string]kind {
	all := map[string]kind{"http": c.HTTP, "tcp": c.TCP, "program": c.Program, "systemd": c.Systemd, "docker": c.Docker,
		"compose": c.Compose, "process": c.Process, "disk": c.Disk, "load": c.Load}
	maps.DeleteFunc(all, func(_ string, k kind) bool { return reflect.ValueOf(k).IsNil() })
	return all
}

var checkNameRule = regexp.MustCompile(`\A[A-Za-z0-9][A-Za-z0-9._-]{0,63}\z`)

// prepare returns what looks, or all that is wrong with the check.
func (c *Check) prepare(h host) (p probe, err error) {
	var errs []error
	if !checkNameRule.MatchString(c.Name) {
		errs = append(errs, errors.New("name: use 1 to 64 of A-Z a-z 0-9 . _ -, beginning with a letter or digit"))
	}
	kinds := c.kinds()
	if len(kinds) != 1 {
		errs = append(errs, fmt.Errorf("wants one kind of check (http, tcp, program, systemd, docker, compose, process, disk, load), and has %d%s",
			len(kinds), named(kinds)))
	}
	for _, name := range slices.Sorted(maps.Keys(kinds)) {
		var wrong error
		p, wrong = kinds[name].prepare(h)
		errs = append(errs, placed(name, wrong)...)
	}
	return p, errors.Join(append(errs, c.Timing.check())...)
}

func named(kinds map[string]kind) string {
	if len(kinds) == 0 {
		return ""
	}
	return ": " + strings.Join(slices.Sorted(maps.Keys(kinds)), ", ")
}

// prepareChecks returns what looks, for each check in its order, or all that is wrong with any.
func prepareChecks(checks []Check, h host) ([]probe, error) {
	var errs []error
	probes := make([]probe, len(checks))
	seen := map[string]int{}
	for i := range checks {
		c := &checks[i]
		place := fmt.Sprintf("checks[%d] %s", i, c.Name)
		p, err := c.prepare(h)
		errs = append(errs, placed(place, err)...)
		if other, taken := seen[c.Name]; taken {
			errs = append(errs, fmt.Errorf("%s: checks[%d] has this name, too", place, other))
		}
		seen[c.Name], probes[i] = i, p
	}
	return probes, errors.Join(errs...)
}

// placed puts a place before each of the errors that err joins.
func placed(place string, err error) (errs []error) {
	switch j := err.(type) {
	case nil:
	case interface{ Unwrap() []error }:
		for _, err := range j.Unwrap() {
			errs = append(errs, placed(place, err)...)
		}
	default:
		errs = append(errs, fmt.Errorf("%s: %w", place, err))
	}
	return errs
}
