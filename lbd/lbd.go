package lbd

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/lbd/nginx"
	"github.com/bazbeans/bazbeans/pool"
	"github.com/bazbeans/bazbeans/render"
	"github.com/bazbeans/bazbeans/resolvers"
)

// registry is what the loop needs of *pool.Pool: it reads the pool, and writes nothing but its own ack.
type registry interface {
	SnapshotFor(ctx context.Context, lb string, first []string) (*pool.Snapshot, error)
	Watch(ctx context.Context, fn func(pool.Wake)) error
	WriteAck(ctx context.Context, a pool.Ack, ttl time.Duration) (before string, err error)
	Where() string
	Close() error
}

// LB keeps the upstreams of one Nginx in step with the pool. Make it with New, then call Run or Once, then Close.
type LB struct {
	cfg       Config
	log       *slog.Logger
	pool      registry
	chain     *resolvers.Chain
	engine    Engine
	nginx     *nginx.Nginx                    // what engine reloads
	chosen    choice                          // of the engine
	beside    *beside                         // for a command; nil: not looked for
	onDisk    func([]nginx.File) []nginx.File // how a plan's files are written
	upstreams []*upstream
	host      string // for people
	instance  string // which run of lbd this is
	metrics   *metrics
	board     board // what others may read while the loop runs
	agenda    *agenda
	say       *sayer
	notify    *cli.Notifier     // nil: no service manager listens
	viewed    func(render.View) // a preview's; else nil

	own listeners

	// The templates folder is watched, and something in it has changed.
	watched, changed atomic.Bool

	// All that follows belongs to the loop alone.

	// Templates: as the folder has them, as Nginx was proven to serve them, and those that it refused (nil: none),
	// with what it said; they are tried again at retry.
	templates   *render.Set
	proven      *render.Set
	refused     *render.Set
	refusal     error
	retry       backoff
	templateErr error // of the first reading
	readAt      time.Time

	// What was wanted last, and what Nginx was last proven to serve, whole in last; remembered is the memory file as it
	// was written.
	wanted     generation
	running    generation
	archive    archive
	last       *saved // nil: nothing yet
	lastKept   bool   // it is in the archive
	unsaved    *saved // the one before it that is, when it is not; see save
	saveNext   time.Time
	record     *saved   // what a restart would begin with; nil: nothing
	vague      bool     // or something else: not all that is kept could be read, and nothing was written since
	recordErr  error    // why that is not the last one, if that was tried
	secured    int64    // revision up to which a restart would put back nobody; see secure
	orphans    []orphan // of former configs; see findOrphans
	letGo      backoff  // of reloads for them
	keepsOn    error    // why the last of these failed
	memory     memory
	remembered []byte

	// Outputs that Nginx refuses, by upstream: those stay at their last good.
	faulty map[string]*fault

	// What an operator on this host has said.
	approvals *control[approval]
	approval  *approval
	pins      *control[pin]
	pin       *pin

	sight sight

	// When to look and apply again.
	pace       pace
	planned    time.Time // the next look, if nothing happens before
	settled    bool      // the last apply did what the plan said
	lastApply  time.Time // end of the last reload, for min_interval
	lastChange time.Time // of what Nginx serves
	lastCheck  time.Time // last time that the engine looked, for drift
	fails      backoff   // of applies
	lookFails  backoff

	// What the ack says.
	serving bool     // Nginx runs and was proven to serve the last plan
	renewed bool     // it is another one since then: it has read the files anew, whatever is in them
	rev     int64    // of the last plan that is in place in full
	revs    []revOf  // what it was when former generations were in place
	held    []string // ids kept against the pool's word in that plan
	refuses []pool.Refusal
	former  int   // configurations before the present one whose workers have not ended
	endless bool  // they may never: there is no worker_shutdown_timeout, and that was said
	lastErr error // of the last turn
	acks    acks
}

// generation numbers what was wanted: it goes up with each change of the files' content, and over restarts.
type generation struct {
	N    int64  `json:"generation"`
	Hash string `json:"hash"`
}

// New checks cfg, loads templates and makes resolvers. It starts nothing and connects nowhere. Its errors are errors
// of the configuration; a template that does not parse is none, but TemplateError tells.
func New(cfg Config, log *slog.Logger, kinds ...Kind) (*LB, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	nets, err := resolvers.ParseNetworks(cfg.AllowNetworks)
	if err != nil {
		return nil, err
	}
	l := &LB{cfg: cfg, log: log, agenda: newAgenda(), say: newSayer(log), own: listeners{another: make(chan struct{}, 1)},
		fails: backoff{first: time.Second, most: 30 * time.Second}, lookFails: backoff{first: 200 * time.Millisecond, most: 5 * time.Second},
		retry: backoff{first: 30 * time.Second, most: 10 * time.Minute}, letGo: backoff{first: time.Second, most: 10 * time.Second}}
	l.archive = archiveIn(cfg.StateDir)
	l.approvals, l.pins, l.faulty = approvalFile(cfg.StateDir), pinFile(cfg.StateDir), map[string]*fault{}
	l.metrics = newMetrics(func() Status { s, _ := l.board.read(&l.cfg); return s })
	l.host, _ = os.Hostname() // for people: empty will do
	l.instance = fmt.Sprintf("%s:%d:%s", l.host, os.Getpid(), rand.Text())
	dir := cfg.templatesDir(nil)
	if dir != "" {
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			return nil, fmt.Errorf("templates: %s is not a folder that can be read (make it, or leave templates out to use the built-in ones)", dir)
		}
	}
	set, err := render.Load(dir, nil)
	l.templates, l.proven, l.templateErr = set, set, err
	for _, c := range cfg.Upstreams {
		view, err := c.render()
		if err != nil {
			return nil, err
		}
		if set.Source(view.Template) == "" && err == nil {
			return nil, fmt.Errorf("upstream %s: there is no template %s (there are: %v)", c.Name, view.Template, set.Names())
		}
		l.upstreams = append(l.upstreams, &upstream{UpstreamConfig: c, view: view})
	}
	opt := cfg.nginx(log)
	opt.Progress = l.progress
	engine, err := nginx.New(opt)
	if err != nil {
		return nil, err
	}
	l.engine, l.nginx, l.onDisk = reloads{engine}, engine, engine.OnDisk
	l.chosen.retry = liveRetry
	l.own.configured, l.own.unknown, l.own.sayUnseen = engine.Listens, l.blindToListeners, l.sayUnseen
	l.own.addText(cfg.Nginx.Proof)
	l.own.addText(cfg.Status.Listen)
	if cfg.Nginx.mayAsk() {
		l.own.addText(cfg.Nginx.Names)
	}
	p, err := pool.Open(cfg.Redis)
	if err != nil {
		return nil, err
	}
	l.pool = p
	made, err := links(cfg.Resolvers, kinds, p)
	if err == nil {
		l.chain, err = resolvers.NewChain(resolvers.Door{Networks: nets}, made...)
	}
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	l.chain.Observe = l.metrics.asked
	return l, nil
}

// TemplateError says which templates could not be read when the LB was made; nil when all could.
func (l *LB) TemplateError() error { return l.templateErr }

// Close lets go of Redis and of what the resolvers hold. Nginx goes on with what it has.
func (l *LB) Close() error {
	err := l.engine.Close()
	if l.chosen.kind != nil {
		l.chosen.kind.close()
	}
	return errors.Join(err, l.chain.Close(), l.pool.Close())
}

// Run keeps Nginx in step until ctx ends. It returns an error only when it can't begin: later errors are states, shown
// and retried.
func (l *LB) Run(ctx context.Context) error {
	unlock, err := l.begin(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	ln, err := listen(l.cfg.Status.Listen)
	if err != nil {
		return err
	}
	l.board.start(l.cfg.ID)
	l.log.Info("lbd keeps nginx in step", "id", l.cfg.ID, "redis", l.pool.Where(), "resolvers", l.chain.Names(),
		"upstreams", len(l.upstreams), "nginx_conf", l.cfg.Nginx.Conf, "status", l.cfg.Status.Listen)
	if ln != nil {
		l.own.addText(ln.Addr().String()) // the system may have chosen the port
	}
	// All parts end with ctx, in any order: none needs another to end well.
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return l.loop(ctx) })
	g.Go(func() error { return ignoreEnd(ctx, l.pool.Watch(ctx, l.hear)) })
	g.Go(func() error { l.watchTemplates(ctx); return nil })
	g.Go(func() error { l.own.watch(ctx); return nil })
	g.Go(func() error { l.chain.Watch(ctx, l.agenda.now); return nil })
	if ln != nil {
		g.Go(func() error { return l.serve(ctx, ln) })
	}
	return g.Wait()
}

// ignoreEnd makes the end of ctx a good end.
func ignoreEnd(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// Once looks, applies and returns: whether files changed, and what the guard holds back.
func (l *LB) Once(ctx context.Context) (changed bool, guard map[string]verdict, err error) {
	unlock, err := l.begin(ctx)
	if err != nil {
		return false, nil, err
	}
	defer unlock()
	f, err := l.lookPatiently(ctx)
	if err != nil {
		return false, nil, err
	}
	l.controls()
	p := l.plan(f, l.templates, time.Now())
	l.noteHolds(p)
	l.putPin(p)
	out, err := l.bring(ctx, p)
	if err == nil {
		err = l.arrive(ctx)
	}
	if err == nil {
		err = p.problems()
	}
	l.remember(p)
	l.ack(ctx)
	l.save()
	return out.Changed, p.Guard, err
}

// begin takes the locks and remembers what was served before.
func (l *LB) begin(ctx context.Context) (unlock func(), err error) {
	if unlock, err = l.cfg.lock(); err != nil {
		return nil, err
	}
	l.lookBack()
	l.seeListeners(ctx)
	l.choose(ctx, true)
	return unlock, nil
}
