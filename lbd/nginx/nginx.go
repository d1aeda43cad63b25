// Package nginx keeps files of ours in one Nginx on this host: it stages them, has Nginx test them in the operator's
// whole configuration, installs them, reloads and proves that new workers serve them.
//
// It does not render the files, does not decide when to apply, never starts or stops Nginx, and never writes
// anything of the operator's own configuration. It knows Nginx from outside: its configuration as text, its binary
// as the judge, its processes in /proc, its error log, and what new workers answer if it is told to ask them.
package nginx

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/bazbeans/bazbeans/step"
)

// Options say which Nginx, and how to reach it.
type Options struct {
	Binary string   // default "nginx", looked up in PATH
	Prefix string   // nginx -p; default: the one in the running master's command line, else the one built in
	Conf   string   // nginx -c; default "/etc/nginx/nginx.conf"; a relative one is relative to Prefix or the one built in
	Global string   // nginx -g; default: the one in the running master's command line
	PID    string   // default "/run/nginx.pid"
	Reload []string // the command that reloads; default: SIGHUP to the master

	// Proof is a listener in Nginx that new workers are asked at, "127.0.0.1:9181" or "unix:/run/lbd-{generation}.sock";
	// "": their processes alone are looked at. With a Reload command it proves a reload also where no process of Nginx
	// can be seen. The socket's folder must be one that a reboot leaves in place.
	Proof string

	// StateDir is a folder for this Nginx alone: originals of files taken over, the last proof and the files that it is
	// about, shadow copies during a test. Default "/var/lib/lbd".
	StateDir string
	Log      *slog.Logger // default: none

	// TestTimeout bounds one run of `nginx -t`; default 30s.
	TestTimeout time.Duration
	// ReloadTimeout is how long to wait for the proof of a reload, and for the Reload command; default 10s, never
	// below 3s: Nginx tries a taken port five times in 2.5 s and is deaf meanwhile.
	ReloadTimeout time.Duration

	// Progress is called at the end of each step of Test, Apply and Keep that has a time limit of its own: a run of
	// `nginx -t`, asking for a reload, its proof. None takes longer than three TestTimeouts or ReloadTimeout, whichever is
	// more. Default: nothing.
	Progress func()
}

const minReloadTimeout = 3 * time.Second

// File is one file of ours in Nginx's configuration, in full.
type File struct {
	Path   string // absolute; a symlink is followed, and what it points at is replaced
	Data   []byte
	Remove bool // the file shall not exist; Data is ignored
}

// Outcome says what an Apply did. It is filled in as far as the Apply came, also beside an error.
type Outcome struct {
	Changed  bool // some file's bytes changed on disk, and stayed
	Reloaded bool // a reload was asked for and proven
	// Running means: Nginx runs and serves exactly these files, proven. False without an error: Nginx is not
	// running, and Why says how that is known; the files have passed its test and are installed.
	Running  bool
	Why      string
	Workers  int // live workers, draining ones not counted
	Draining int // workers of former configurations that still finish their requests
	// Foreign means, beside an error: before this Apply somebody else had changed the files that were proven last, or taken
	// out what includes them. Nobody knows whether Nginx has read that since.
	Foreign bool
	Took    map[step.Name]time.Duration
}

// Nginx is one Nginx on this host. Its methods may be called from several goroutines.
type Nginx struct {
	opt Options
	log *slog.Logger

	listener listener // Options.Proof

	mu    sync.Mutex      // one Test or Apply at a time
	tidy  sync.WaitGroup  // what need not be waited for before the lock is given back
	swept map[string]bool // folders in which no left-over of a killed lbd is any more
	roads *roads          // of the last look; nil: none yet

	unkept unkept

	proofMu sync.Mutex
	proof   *proof // what was proven last; nil: not yet loaded from StateDir

	seenMu    sync.Mutex
	masters   []process // seen, and not known to have ended with all their workers; nil: none was looked for yet
	learned   *learned  // nil: nothing yet
	retired   []crew    // oldest first
	strangers time.Time // since when there are draining workers that are of no retired crew

	buildMu sync.Mutex
	built   build
}

// New checks the options and sets the defaults. It starts nothing and touches no file.
func New(opt Options) (*Nginx, error) {
	def := func(s *string, v string) {
		if *s == "" {
			*s = v
		}
	}
	def(&opt.Binary, "nginx")
	def(&opt.Conf, "/etc/nginx/nginx.conf")
	def(&opt.PID, "/run/nginx.pid")
	def(&opt.StateDir, "/var/lib/lbd")
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if opt.TestTimeout <= 0 {
		opt.TestTimeout = 30 * time.Second
	}
	if opt.ReloadTimeout <= 0 {
		opt.ReloadTimeout = 10 * time.Second
	}
	if opt.Progress == nil {
		opt.Progress = func() {}
	}
	opt.ReloadTimeout = max(opt.ReloadTimeout, minReloadTimeout)
	if opt.Reload != nil && (len(opt.Reload) == 0 || opt.Reload[0] == "") {
		return nil, errors.New("nginx: the reload command is empty")
	}
	var err error
	if opt.Prefix != "" {
		if opt.Prefix, err = filepath.Abs(opt.Prefix); err != nil {
			return nil, fmt.Errorf("nginx: make prefix absolute: %w", err)
		}
	}
	if opt.StateDir, err = filepath.Abs(opt.StateDir); err != nil {
		return nil, fmt.Errorf("nginx: make state folder absolute: %w", err)
	}
	proof, err := parseListener(opt.Proof)
	if err != nil {
		return nil, err
	}
	return &Nginx{opt: opt, log: opt.Log, listener: proof, swept: map[string]bool{}}, nil
}

// Test has Nginx test its whole configuration with files in place. Nothing on the live path changes; for the
// moment of the test there are files beside the live ones whose names begin with a dot.
func (n *Nginx) Test(ctx context.Context, files []File) error {
	unlock, err := n.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	s, err := n.setup(ctx)
	if err != nil {
		return err
	}
	outs, err := n.outputs(files)
	if err != nil {
		return err
	}
	n.sweep(s, outs)
	w, err := n.witness(0, outs)
	if err != nil {
		return err
	}
	defer discard(w.outputs(outs))
	if err := stage(w.outputs(outs)); err != nil {
		return err
	}
	_, err = n.test(ctx, s, outs, w)
	return err
}
