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
	Details   string // its result as JSON; free text; "" when Cut
	Cut       bool   // Details are longer than a report may be: nobody can say how it went
	Timestamp string // of the report, as it stands there
}

// reportMost bounds a Python agent's report, in bytes. It has the whole output of a program, and only a whole one can be
// judged.
const reportMost = 4 << 20

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
	r := PythonReport{Waiting: waiting.Val(), Status: cut(text(0)), Details: text(1), Timestamp: cut(text(2))}
	if r.Cut = len(r.Details) > reportMost; r.Cut {
		r.Details = ""
	}
	return r, nil
}

// FinishPython writes into a command's record what its sender makes of the Python agent's report; Unknown when no report
// could be told to be about it. The node's hash stays as it is: it is the agent's.
func (p *Pool) FinishPython(ctx context.Context, r Result) error {
	return p.finish(ctx, Taken{}, r, "")
}
