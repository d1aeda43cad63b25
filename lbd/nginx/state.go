package nginx

import (
	"context"
	"errors"
)

// State is what Nginx's processes look like now.
type State struct {
	Master   int    // process id of the master; 0: Nginx is not running
	Why      string // why it counts as not running
	Workers  int    // draining ones not counted
	Draining int    // workers of former configurations that still finish their requests
}

// State looks at the processes, and at nothing else. It does not wait for an Apply.
func (n *Nginx) State(ctx context.Context) (State, error) {
	b, err := n.build(ctx)
	if err != nil {
		return State{}, err
	}
	m, _, err := n.master(b)
	if a := new(absence); errors.As(err, &a) {
		return State{Why: a.why}, nil
	}
	if err != nil {
		return State{}, err
	}
	workers, draining := m.crew()
	return State{Master: m.PID, Workers: len(workers), Draining: draining}, nil
}
