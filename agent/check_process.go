package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/shirou/gopsutil/v3/process"
)

// ProcessCheck wants a process that runs: by its name, by a pid file, or by both, and then the pid must have the name.
type ProcessCheck struct {
	Name    string `yaml:"name"`     // as ps -o comm shows it
	PIDFile string `yaml:"pid_file"` // absolute path
}

func (c *ProcessCheck) prepare(host) (probe, error) {
	switch {
	case c.Name == "" && c.PIDFile == "":
		return nil, errors.New("say name or pid_file, or both")
	case c.PIDFile != "" && !filepath.IsAbs(c.PIDFile):
		return nil, fmt.Errorf("pid_file: %q is not absolute", c.PIDFile)
	case c.PIDFile == "":
		return c.byName, nil
	}
	return c.byPID, nil
}

func (c *ProcessCheck) byName(ctx context.Context) error {
	pids, err := process.PidsWithContext(ctx)
	if err != nil {
		return fmt.Errorf("list processes: %w", err)
	}
	for _, pid := range pids {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		// Not by process.NewProcess, which reads three more files of each process.
		p := &process.Process{Pid: pid}
		if name, err := p.NameWithContext(ctx); err == nil && name == c.Name && alive(ctx, p) {
			return nil
		}
	}
	return fmt.Errorf("no process %s", c.Name)
}

func (c *ProcessCheck) byPID(ctx context.Context) error {
	text, err := os.ReadFile(c.PIDFile)
	if err != nil {
		return err // names the file
	}
	pid, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 32)
	if err != nil || pid < 1 {
		return fmt.Errorf("%s holds no process id", c.PIDFile)
	}
	p := &process.Process{Pid: int32(pid)}
	if !alive(ctx, p) {
		return fmt.Errorf("process %d of %s does not run", pid, c.PIDFile)
	}
	if c.Name == "" {
		return nil
	}
	if name, err := p.NameWithContext(ctx); err != nil || name != c.Name {
		return fmt.Errorf("process %d of %s is %q, not %s", pid, c.PIDFile, name, c.Name)
	}
	return nil
}

// alive is false for a zombie, too.
func alive(ctx context.Context, p *process.Process) bool {
	status, err := p.StatusWithContext(ctx)
	return err == nil && !slices.Contains(status, process.Zombie)
}
