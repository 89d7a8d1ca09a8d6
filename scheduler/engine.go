// Package scheduler is the engine: it observes what there is, plans what is missing, applies the plan and supervises what
// runs. It is the only place that translates compose terms into runtime, network and volume terms.
//
// One engine serves one state root. Its parent, the keeper, outlives it: containers go on while there is no engine, and
// the next one adopts them (adopt.go).
package scheduler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"

	"tutti/dns"
	"tutti/netdriver"
	"tutti/runtime"
	"tutti/runtime/cgroup"
	"tutti/runtime/image"
	"tutti/runtime/keeper"
	"tutti/scheduler/builder"
	"tutti/scheduler/journal"
	"tutti/volumes"
)

// Engine owns the containers, networks, volumes and images of one state root.
type Engine struct {
	paths     Paths
	log       *slog.Logger
	keeper    *keeper.Client
	reaper    *retainer // the keeper for the runtime
	runtime   *runtime.Runtime
	images    *image.Store
	builder   *builder.Builder
	net       *netdriver.Driver
	dns       *dns.Server
	volumes   *volumes.Store
	names     *names
	upstreams *dns.HostUpstreams
	bus       *bus
	syncer    *syncer
	busy      *activity
	journal   *journal.Journal
	asked     chan struct{} // holds a token when a request has ended
	starting  atomic.Int64  // containers with a health check that are not healthy yet
	starts    atomic.Uint64 // counts the starts of containers, over all engines of this root
	edges     edgeCache
	serving   atomic.Int64 // requests

	replaceOnce sync.Once
	replaced    chan struct{} // closed when an engine from another program is to take over

	ctx    context.Context //nolint:containedctx // the engine's own life: supervision ends with it
	cancel context.CancelFunc
	wg     sync.WaitGroup // supervision and background work

	journalFails atomic.Bool                     // the last event could not be kept
	halting      atomic.Bool                     // the host goes down
	features     func() (cgroup.Features, error) // of the host, looked up once

	mu       sync.Mutex
	units    map[string]*unit             // by id
	networks map[string]netdriver.Network // by full name
	reserved map[string]bool              // names of containers that are being created
	execs    map[string]*Exec             // by id
	doing    doings

	imageHolds   holds
	volumeHolds  holds
	projectLocks keyedMutex // one verb at a time changes a project
	networkLocks keyedMutex // one request at a time makes a network of a name
}

// Open starts an engine over the state in paths: stores are opened, containers that run are adopted, leftovers of a crash
// are removed.
func Open(ctx context.Context, paths Paths, k *keeper.Client, log *slog.Logger) (*Engine, error) {
	if err := paths.create(); err != nil {
		return nil, fmt.Errorf("create the state folders: %w", err)
	}
	if err := paths.checkFormat(); err != nil {
		return nil, err
	}
	e := &Engine{paths: paths, log: log, keeper: k, reaper: newRetainer(k), busy: newActivity(), asked: make(chan struct{}, 1), replaced: make(chan struct{}), units: map[string]*unit{}, networks: map[string]netdriver.Network{}, reserved: map[string]bool{}, execs: map[string]*Exec{}}
	e.bus = newBus(e.noteChange)
	e.syncer = newSyncer(log, e.saved)
	e.ctx, e.cancel = context.WithCancel(ctx)
	e.wg.Go(func() { e.syncer.run(e.ctx.Done()) })
	if err := e.open(ctx); err != nil {
		return nil, errors.Join(err, e.Close(ctx))
	}
	return e, nil
}

func (e *Engine) open(ctx context.Context) (err error) {
	if e.journal, err = journal.Open(e.paths.events()); err != nil {
		e.log.Error("events will not be kept", "error", err) // nothing that runs needs them
	}
	parent, err := e.settle(ctx)
	if err != nil {
		return fmt.Errorf("find a place for cgroups: %w", err)
	}
	if e.runtime, err = runtime.New(runtime.Config{Dir: e.paths.runtime(), CgroupParent: parent, Reaper: e.reaper}); err != nil {
		return fmt.Errorf("open the runtime: %w", err)
	}
	if e.volumes, err = volumes.Open(e.paths.volumes()); err != nil {
		return fmt.Errorf("open the volumes: %w", err)
	}
	if e.images, err = openImages(ctx, e.paths.images(), e.log); err != nil {
		return fmt.Errorf("open the image store: %w", err)
	}
	if e.net, err = netdriver.New(ctx, netdriver.Config{
		StateDir: e.paths.Root, PoolsFile: e.paths.config(), Instance: e.paths.Instance(), Keeper: e.keeper, RelayProgram: relayProgram, Log: e.log,
	}); err != nil {
		return fmt.Errorf("open the networks: %w", err)
	}
	e.builder = builder.New(e.ctx, builder.Config{Root: e.paths.builder(), StateRoot: e.paths.Root, Store: e.images, Runtime: e.runtime, Net: e.net, Busy: e.busy.begin, Log: e.log})
	e.upstreams = dns.NewHostUpstreams()
	e.dns = dns.New(e.ctx, dns.Config{Upstreams: e.upstreams.Upstreams, DialClient: e.dialInside, Log: e.log})
	e.names = newNames(e.dns)
	if err := e.adopt(ctx); err != nil {
		return fmt.Errorf("adopt what is there: %w", err)
	}
	e.wg.Go(e.followRestarts)
	if e.images.Unclean() {
		e.Background("collect what an engine that died has left", func() error { return e.images.GarbageCollect(e.ctx) })
	}
	e.Background("empty the trash", func() error { return emptyFolder(e.paths.trash()) })
	return nil
}

// Root is the state folder.
func (e *Engine) Root() string { return e.paths.Root }

// Life is done when the engine ends.
func (e *Engine) Life() context.Context { return e.ctx }

// Background runs work that nobody waits for, but Close.
func (e *Engine) Background(what string, work func() error) {
	release := e.busy.begin()
	e.wg.Go(func() {
		defer release()
		if err := work(); err != nil {
			e.log.Error(what, "error", err)
		}
	})
}

// Close ends supervision and closes the stores. Containers go on.
func (e *Engine) Close(ctx context.Context) error {
	e.cancel()
	e.wg.Wait()
	var errs []error
	if e.journal != nil {
		errs = append(errs, e.journal.Close())
	}
	if e.builder != nil {
		errs = append(errs, e.builder.Close())
	}
	if e.dns != nil {
		e.dns.Close()
	}
	if e.net != nil {
		errs = append(errs, e.net.Close(ctx))
	}
	if e.images != nil {
		errs = append(errs, e.images.Close())
	}
	if e.runtime != nil {
		errs = append(errs, e.runtime.Close())
	}
	return errors.Join(errs...)
}

// emptyFolder removes everything in dir, not dir itself.
func emptyFolder(dir string) error {
	l, err := os.ReadDir(dir)
	for _, d := range l {
		err = errors.Join(err, os.RemoveAll(dir+"/"+d.Name()))
	}
	return err
}

// keyedMutex is a mutex per name.
type keyedMutex struct {
	mu    sync.Mutex
	locks map[string]*keyedLock
}

type keyedLock struct {
	token chan struct{}
	users int
}

// lock waits for the name's turn, or until ctx is done.
func (k *keyedMutex) lock(ctx context.Context, name string) (unlock func(), err error) {
	k.mu.Lock()
	if k.locks == nil {
		k.locks = map[string]*keyedLock{}
	}
	l := k.locks[name]
	if l == nil {
		l = &keyedLock{token: make(chan struct{}, 1)}
		k.locks[name] = l
	}
	l.users++
	k.mu.Unlock()
	leave := func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(k.locks, name)
		}
	}
	select {
	case l.token <- struct{}{}:
		return func() { <-l.token; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}
