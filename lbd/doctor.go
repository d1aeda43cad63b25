package lbd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/bazbeans/bazbeans/lbd/nginx"
)

// level says how much a finding matters.
type level string

const (
	levelOK      level = "ok"
	levelNote    level = "note"    // good to know, nothing to do
	levelWarning level = "warning" // will hurt some day, or under load
	levelProblem level = "problem" // hurts now, or at the next change
)

// finding is one thing that the doctor looked at. docs/doctor.md explains each code.
type finding struct {
	Group string `json:"group"`
	Code  string `json:"code"`
	Level level  `json:"level"`
	What  string `json:"what"`            // what was looked at, and what was seen
	Means string `json:"means,omitempty"` // a sentence
	Where string `json:"where,omitempty"` // where the fix goes: a shell, lbd's config, a place in a file
	Fix   string `json:"fix,omitempty"`   // a command or lines to paste, as they are
}

// Where the fixes go. What belongs into Nginx's configuration says the file and the block; see doctor_conf.go.
const (
	inShell  = "run as root"
	inConfig = "in lbd's config"
)

// doctor is one round of `lbd doctor`: what was seen, for the checks to judge, and what they found. It writes nothing
// and needs neither Redis nor a running Nginx or lbd: what can't be seen is a finding as well.
type doctor struct {
	l     *LB
	facts *facts            // never nil; empty without Redis
	away  error             // why Redis can't be looked at
	plan  *Plan             // what lbd would do
	files []nginx.File      // one for each upstream
	state State             // what a running lbd would see of Nginx
	site  *nginx.Inspection // nil without a binary
	noBin error             // why there is none
	uid   int               // who we are

	group    string
	findings []finding
}

// checks are all there is to look at, in the order in which it is printed.
var checks = []struct {
	group string
	look  func(*doctor, context.Context)
}{
	{"Nginx", (*doctor).checkBinary},
	{"Nginx", (*doctor).checkMaster},
	{"Nginx", (*doctor).checkWorkers},
	{"Nginx's configuration", (*doctor).checkTest},
	{"Nginx's configuration", (*doctor).checkOutputs},
	{"Nginx's configuration", (*doctor).checkReloads},
	{"Nginx's configuration", (*doctor).checkErrorLog},
	{"Nginx's configuration", (*doctor).checkLimits},
	{"Upstreams", (*doctor).checkTemplates},
	{"Upstreams", (*doctor).checkUpstreams},
	{"Upstreams", (*doctor).checkLive},
	{"Upstreams", (*doctor).checkProxying},
	{"This host", (*doctor).checkUser},
	{"This host", (*doctor).checkStateDir},
	{"This host", (*doctor).checkRunning},
	{"This host", (*doctor).checkSystemd},
	{"This host", (*doctor).checkConfinement},
	{"Redis", (*doctor).checkRedis},
	{"Pool and guard", (*doctor).checkPool},
	{"Pool and guard", (*doctor).checkGuard},
	{"Pool and guard", (*doctor).checkLBs},
}

// examine is `lbd doctor`. Its error says that there are problems.
func examine(ctx context.Context, l *LB, output string, stdout io.Writer) error {
	d := l.diagnose(ctx)
	if output == "json" {
		enc := json.NewEncoder(stdout)
		enc.SetIndent("", "  ")
		if err := enc.Encode(d.findings); err != nil {
			return err
		}
	} else if err := printFindings(stdout, d.findings); err != nil {
		return err
	}
	var codes []string
	for _, f := range d.findings {
		if f.Level == levelProblem && !slices.Contains(codes, f.Code) {
			codes = append(codes, f.Code)
		}
	}
	if len(codes) > 0 {
		return fmt.Errorf("there are problems: %v", codes)
	}
	return nil
}

// diagnose looks at everything and judges it.
func (l *LB) diagnose(ctx context.Context) *doctor {
	d := &doctor{l: l, facts: &facts{at: time.Now()}, uid: os.Geteuid()}
	l.lookBack()
	if f, err := l.lookPatiently(ctx); err == nil {
		d.facts = f
	} else {
		d.away = err
	}
	d.state, _ = l.engine.State(ctx) // why there is none, the inspection says as well
	l.own.look(ctx, d.state.Master)
	l.choose(ctx, false)
	d.plan = l.plan(d.facts, l.templates, time.Now())
	d.files = l.outputs(d.plan)
	if l.nginx != nil {
		d.site, d.noBin = l.nginx.Inspect(ctx, d.files)
	} else {
		d.noBin = errors.New("there is no engine that reloads")
	}
	for _, c := range checks {
		d.group = c.group
		c.look(d, ctx)
	}
	return d
}

// outputs returns a file for every upstream: as planned, else as it is on disk.
func (l *LB) outputs(p *Plan) (files []nginx.File) {
	for _, u := range l.upstreams {
		i := slices.IndexFunc(p.Files, func(f nginx.File) bool { return f.Path == u.Output })
		if i >= 0 {
			files = append(files, p.Files[i])
			continue
		}
		live, _ := os.ReadFile(u.Output) // without one it is an empty file, which Nginx takes
		files = append(files, nginx.File{Path: u.Output, Data: live})
	}
	return files
}

func (d *doctor) add(f finding) {
	f.Group = d.group
	d.findings = append(d.findings, f)
}

func (d *doctor) ok(code, format string, args ...any) {
	d.add(finding{Code: code, Level: levelOK, What: fmt.Sprintf(format, args...)})
}
