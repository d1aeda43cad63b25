package agent

import (
	"maps"
	"reflect"
)

// Reload takes a changed config while the agent runs. What applies at once: checks, thresholds, labels, weight, port,
// data center, the times of heartbeats and of the drain, what commands may do, also those that wait for their turn. It
// returns the names of the other settings that differ: they need a restart. On an error nothing changes. It may be
// called from any goroutine, one at a time.
func (a *Agent) Reload(next Config) (restart []string, err error) {
	probes, err := next.check()
	if err != nil {
		return nil, err
	}
	now := *a.settings()
	now.Checks, now.CPUThreshold, now.MemoryThreshold = next.Checks, next.CPUThreshold, next.MemoryThreshold
	now.ThresholdFall, now.ThresholdRise = next.ThresholdFall, next.ThresholdRise
	now.Labels, now.Weight, now.NodePort, now.DataCenter = maps.Clone(next.Labels), next.Weight, next.NodePort, next.DataCenter
	now.HeartbeatInterval, now.HeartbeatTTL, now.DrainTimeout = next.HeartbeatInterval, next.HeartbeatTTL, next.DrainTimeout
	now.Policy = next.Policy
	a.now.Store(&now)
	a.rules.Store(next.rules)
	a.checks.replace(next.Checks, probes, next.HeartbeatInterval)
	a.health.setThresholds(&next)
	a.health.wake() // the beater looks at what is new

	is, want := reflect.ValueOf(now), reflect.ValueOf(next)
	for i := range is.NumField() {
		name := is.Type().Field(i).Tag.Get("yaml")
		if name != "-" && !reflect.DeepEqual(is.Field(i).Interface(), want.Field(i).Interface()) {
			restart = append(restart, name)
		}
	}
	return restart, nil
}
