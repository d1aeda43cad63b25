package nginx

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bazbeans/bazbeans/step"
)

// Inspection is this Nginx as one look found it, for `lbd doctor` and live engines: binary, processes, and the whole configuration as it
// would be with our files in place.
type Inspection struct {
	Binary  string   // links resolved
	Version int      // 1.22.1 is 1022001, as in NGINX_VERSION_NUMBER
	Built   []string // the arguments of configure, such as --with-http_ssl_module
	Prefix  string
	Conf    string // the main configuration file
	// ErrorLog is the log that is built in, for configurations that name none: a path, or "stderr".
	ErrorLog string

	Master  *Master  // the master that the pid file names, if that is the master of Conf; nil: see Why
	Why     string   // why there is no Master
	Masters []Master // every Nginx master on this host that can be seen
	PIDFile PIDFile

	Main    []*Directive         // the configuration, includes put in their places
	Broken  string               // the first file that Nginx can't read, or not parse; Main ends there
	Reached map[string][]Context // path of one of our files -> where include statements put it
	Outputs []Output             // our files, in the order given
	Logs    []string             // the error logs of the main context, absolute, or as named when they are no files
}

// PIDFile is the pid file that lbd looks at beside the one that Nginx writes.
type PIDFile struct {
	Path       string // nginx.pid of lbd's config
	Configured string // what Nginx's configuration says, or has built in
	Empty      bool   // it is there and holds nothing: `nginx -t` leaves such a file when Nginx is down
}

// Context is where in the configuration something stands: the names of the enclosing blocks, outermost first.
type Context []string

func (c Context) String() string {
	if len(c) == 0 {
		return "the main context"
	}
	return strings.Join(c, " > ")
}

// Inspect looks at this Nginx with files in place of what is on disk. It changes nothing and takes no lock. The error
// says why not even the binary can be asked; what else can't be seen is in the Inspection.
func (n *Nginx) Inspect(ctx context.Context, files []File) (*Inspection, error) {
	s, err := n.setup(ctx)
	if err != nil {
		return nil, err
	}
	in := &Inspection{Binary: s.path, Version: s.version, Prefix: s.prefix, Conf: s.conf, Reached: map[string][]Context{}}
	if in.ErrorLog = s.errorLog; s.errorLog != "stderr" {
		in.ErrorLog = under(s.prefix, s.errorLog)
	}
	in.PIDFile.Configured = under(s.prefix, "logs/nginx.pid") // as in Nginx's auto/configure
	if said, err := exec.CommandContext(ctx, s.path, "-V").CombinedOutput(); err == nil {
		for _, m := range argRE.FindAllStringSubmatch(string(said), -1) {
			in.Built = append(in.Built, strings.TrimSpace(m[0]))
			if m[1] == "pid-path" {
				in.PIDFile.Configured = under(s.prefix, m[2]+m[3])
			}
		}
	}
	n.inspectProcesses(s.build, in)

	var outs []*output
	for _, f := range files {
		o, err := look(f)
		in.Outputs = append(in.Outputs, inspectOutput(f.Path, o, err))
		if err == nil {
			outs = append(outs, o)
		}
	}
	t := walk(in.Conf, outs)
	if t.broken != nil {
		in.Broken = fmt.Sprintf("%s: %v", t.broken.name, t.broken.err)
	}
	in.Main = (&expansion{in: in}).source(t.main, nil)
	for _, d := range in.Main {
		if d.Name == "pid" && len(d.Args) == 1 {
			in.PIDFile.Configured = under(s.prefix, d.Args[0])
		}
	}
	in.Logs = in.logPaths(s)
	return in, nil
}

// TestLive has Nginx test what is on disk. why is what it has against it, "" when it passes.
func (n *Nginx) TestLive(ctx context.Context) (why string, err error) {
	s, err := n.setup(ctx)
	if err != nil {
		return "", err
	}
	return n.testLive(ctx, s)
}

// Rehearse is Test for somebody who may disturb nobody: without the lock and outside the state folder, so that it can
// run beside an lbd at work. For the moment of the test there may be a copy of the main configuration file beside it.
func (n *Nginx) Rehearse(ctx context.Context, files []File) error {
	s, err := n.setup(ctx)
	if err != nil {
		return err
	}
	outs, err := n.outputs(files)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "lbd-")
	if err != nil {
		return step.Errorf(step.Test, "", "make a folder for the test: %w", err)
	}
	defer os.RemoveAll(dir)
	for i, o := range outs {
		if o.Remove || !o.differs() {
			continue
		}
		staged := filepath.Join(dir, fmt.Sprint(i)) // the folder of the live file stays as it is
		if err := writeNew(staged, o.Data); err != nil {
			return step.Errorf(step.Test, "", "write a file for the test: %w", err)
		}
		o.staged = staged
	}
	apart := &Nginx{opt: n.opt, log: n.log, swept: map[string]bool{}}
	apart.opt.StateDir = dir
	_, err = apart.test(ctx, s, outs, nil)
	apart.tidy.Wait()
	return err
}

// logPaths lists the error logs of the main context: those decide whether a refused reload leaves a trace.
func (in *Inspection) logPaths(s setup) []string {
	var paths []string
	for _, d := range in.Main {
		if d.Name != "error_log" || len(d.Args) == 0 {
			continue
		}
		path := d.Args[0]
		if path != "stderr" && !strings.HasPrefix(path, "syslog:") && !strings.HasPrefix(path, "memory:") {
			path = under(s.prefix, path)
		}
		paths = append(paths, path)
	}
	if paths == nil {
		paths = append(paths, in.ErrorLog)
	}
	return slices.Compact(paths)
}

// Output is the place of one of our files.
type Output struct {
	Path   string
	Real   string // links followed: what a rename replaces; "" with Err
	Exists bool
	Mount  bool  // a mount point: it can't be renamed over
	Err    error // why the place can't be looked at
	Folder error // why no file can be made and renamed in its folder; nil: it can, by this user
}

func inspectOutput(path string, o *output, err error) Output {
	out := Output{Path: path, Err: err}
	if err != nil {
		out.Folder = writable(filepath.Dir(path))
		if errors.Is(err, os.ErrNotExist) && out.Folder != nil {
			out.Err = nil // the folder is the trouble
		}
		return out
	}
	out.Real, out.Exists = o.real, o.exists
	out.Mount = mountPoint(o.real)
	out.Folder = writable(filepath.Dir(o.real))
	return out
}
