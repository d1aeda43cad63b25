package pool

import (
	"context"
	"fmt"
)

// PythonReport is what the original system's agent says of the last command it ran: its results have no id, so who sent
// one must find out by itself whether the report is about it.
type PythonReport struct {
	Waiting   int64  // commands in the node's queue
	Status    string // executed_<type> after a command; free text
	Details   string // its result as JSON, OutputMost bytes at most; free text
	Timestamp string // of the report, as it stands there
}

// PythonReport reads it, in one round trip.
func (p *Pool) PythonReport(ctx context.Context, node string) (PythonReport, error) {
	if err := CheckID(node); err != nil {
		return PythonReport{}, err
	}
	pipe := p.rdb.Pipeline()
	waiting := pipe.LLen(ctx, p.keys.commands(node))
	said := pipe.HMGet(ctx, p.keys.status(node), "status", "details", "timestamp")
	if _, err := pipe.Exec(ctx); err != nil {
		return PythonReport{}, p.Explain(fmt.Errorf("read report of %s: %w", node, err))
	}
	text := func(i int) string { s, _ := said.Val()[i].(string); return s }
	return PythonReport{waiting.Val(), cut(text(0)), cutTo(text(1), OutputMost), cut(text(2))}, nil
}
