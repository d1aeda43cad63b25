package agent

import (
	"reflect"
	"strings"
)

// Reload takes a changed config while the agent runs: thresholds apply from the next sample on. It returns the names
// of the other settings that differ: they need a restart. On an error nothing changes.
func (a *Agent) Reload(next Config) (restart []string, err error) {
	probes, err := next.check()
	if err != nil {
		return nil, err
	}
	a.checks.replace(next.Checks, probes, a.cfg.HeartbeatInterval)
	a.health.setThresholds(next.CPUThreshold, next.MemoryThreshold)
	was, is := reflect.ValueOf(a.cfg), reflect.ValueOf(next)
	for i := range was.NumField() {
		name := was.Type().Field(i).Tag.Get("yaml")
		if name == "-" || name == "checks" || strings.HasSuffix(name, "_threshold") {
			continue
		}
		if !reflect.DeepEqual(was.Field(i).Interface(), is.Field(i).Interface()) {
			restart = append(restart, name)
		}
	}
	return restart, nil
}
