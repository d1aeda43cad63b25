package agent

import (
	"fmt"
	"strconv"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/bazbeans/bazbeans/conf"
)

// Duration is a time.Duration that reads "10s" and, as the original system's settings are written, a bare number of
// seconds.
type Duration time.Duration

func (d Duration) String() string { return time.Duration(d).String() }

// Type names the kind of value in a flag's help.
func (d *Duration) Type() string { return "duration" }

// Set reads a flag's value.
func (d *Duration) Set(s string) error {
	const most = 1e6 // seconds, some 11 days: far above any use, far below an overflow
	if n, err := strconv.ParseFloat(s, 64); err == nil && n >= 0 && n <= most {
		*d = Duration(n * float64(time.Second))
		return nil
	}
	t, err := time.ParseDuration(s)
	if err != nil || t < 0 || t.Seconds() > most {
		return fmt.Errorf("%q is not a time like 10s, 1m30s or 30 (seconds)", s)
	}
	*d = Duration(t)
	return nil
}

// UnmarshalYAML reads a config file's value.
func (d *Duration) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.ScalarNode {
		return conf.Errorf(n, "want a time like 10s, 1m30s or 30 (seconds)")
	}
	if err := d.Set(n.Value); err != nil {
		return conf.Errorf(n, "%v", err)
	}
	return nil
}
