package lbd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/bazbeans/bazbeans/cli"
)

// takenMost is how long a command waits for the running lbd to do what it was told.
const takenMost = 15 * time.Second

// approve is `lbd approve [HASH]`: what the guard holds now may go. With a hash only if that is still what is held.
func approve(ctx context.Context, cfg *Config, hash string, stdout io.Writer) error {
	m, _, err := readMemory(cfg.StateDir)
	if err != nil {
		return err
	}
	held := m.holds()
	if len(held) == 0 {
		return errors.New("nothing is held: there is nothing to approve")
	}
	is := hashOfHeld(held)
	m.print(stdout)
	if hash != "" && hash != is {
		return &cli.Error{Code: cli.Refused, Err: fmt.Errorf("what is held is %s, and not %s any more: look at it, then approve that", is, hash)}
	}
	file := approvalFile(cfg.StateDir)
	if err := file.write(&approval{Hash: is, Nodes: held, By: invoker(), Until: time.Now().Add(approvalHolds)}); err != nil {
		return fmt.Errorf("approve: %w", err)
	}
	fmt.Fprintf(stdout, "approved %s, for %s\n", is, approvalHolds)
	if !isLocked(cfg.StateDir) {
		fmt.Fprintln(stdout, "lbd is not running: an lbd that starts within that time heeds it")
		return nil
	}
	var more map[string][]string // what is held beyond the approval
	err = untilApplied(ctx, cfg.StateDir, func(m memory) bool {
		now := m.holds()
		if len(now) > 0 && hashOfHeld(now) != is {
			more = beyond(now, held)
		}
		return len(more) > 0 || !overlap(now, held)
	})
	switch {
	case len(more) > 0:
		return &cli.Error{Code: cli.Refused, Err: fmt.Errorf("%s went meanwhile, which the approval does not cover, so that all stay: look again, then approve that",
			cli.Printable(words(more), 500))}
	case err != nil:
		return err
	}
	fmt.Fprintln(stdout, "done: the guard holds them no more")
	return nil
}

// words names what is held for people: "app_backend: web1 web2, other: web3".
func words(held map[string][]string) string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(held)) {
		list = append(list, name+": "+strings.Join(held[name], " "))
	}
	return strings.Join(list, ", ")
}

// beyond is what is in now and not in approved, of upstreams that were approved.
func beyond(now, approved map[string][]string) map[string][]string {
	more := map[string][]string{}
	for name, nodes := range now {
		ids := slices.DeleteFunc(slices.Clone(nodes), func(id string) bool { return slices.Contains(approved[name], id) })
		if _, named := approved[name]; named && len(ids) > 0 {
			more[name] = ids
		}
	}
	return more
}

// overlap reports whether anything approved is still held.
func overlap(now, approved map[string][]string) bool {
	for name, nodes := range approved {
		held, still := now[name]
		if still && (len(nodes) == 0 || slices.ContainsFunc(nodes, func(id string) bool { return slices.Contains(held, id) })) {
			return true
		}
	}
	return false
}

// holds is what the guard keeps, by upstream.
func (m memory) holds() map[string][]string {
	held := map[string][]string{}
	for name, h := range m.Held {
		if h.Why != "" {
			held[name] = h.Nodes
		}
	}
	return held
}

func (m memory) print(w io.Writer) {
	for _, name := range slices.Sorted(maps.Keys(m.Held)) {
		if h := m.Held[name]; h.Why != "" {
			fmt.Fprintf(w, "%s: %s\n", name, h.Why)
			ids := strings.Join(h.Nodes, " ")
			fmt.Fprintf(w, "  would go: %s\n", cli.Printable(ids, len(ids))) // all of them: they are what is approved
		}
	}
}

// untilApplied waits until the running lbd's memory shows that it heard what it was told, and that this is in place.
func untilApplied(ctx context.Context, stateDir string, heard func(memory) bool) error {
	ctx, cancel := context.WithTimeout(ctx, takenMost)
	defer cancel()
	for {
		m, _, err := readMemory(stateDir)
		switch {
		case err != nil:
			return err
		case heard(m) && m.Applied:
			return nil
		}
		select {
		case <-ctx.Done():
			why := ""
			if m.Error != "" {
				why = ", its last error: " + m.Error
			}
			return &cli.Error{Code: cli.Deadline, Err: fmt.Errorf("the running lbd has not done it yet%s (see its log and /status)", why)}
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// isLocked reports whether an lbd works with a state folder.
func isLocked(stateDir string) bool {
	if _, err := os.Stat(stateDir); err != nil {
		return false
	}
	unlock, err := lock(stateDir)
	if err != nil {
		return true
	}
	unlock()
	return false
}
