// Package engine owns the containers, networks, volumes and images of one state root: it makes, starts, supervises, stops and
// removes them, one at a time. What belongs together, and in which order, is the scheduler's business (package scheduler).
//
// One engine serves one state root. Its parent, the keeper, outlives it: containers go on while there is no engine, and
// the next one adopts them (adopt.go).
package engine

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
	"tutti/scheduler/layout"
	"tutti/scheduler/names"
	"tutti/volumes"
)

// Engine owns the containers, networks, volumes and images of one state root.
type Engine struct {
	Paths       layout.Paths
	Log         *slog.Logger
	keeper      *keeper.Client
	reaper      *retainer // the keeper for the runtime
	runtime     *runtime.Runtime
	ImageStore  *image.Store
	Builder     *builder.Builder
	NetDriver   *netdriver.Driver
	dns         *dns.Server
	VolumeStore *volumes.Store
	names       *names.Table
	Upstreams   *dns.HostUpstreams
	bus         *bus
	syncer      *syncer
	busy        *activity
	journal     *journal.Journal
	asked       chan struct{} // holds a token when a request has ended
	starting    atomic.Int64  // containers with a health check that are not healthy yet
	starts      atomic.Uint64 // counts the starts of containers, over all engines of this root
	edges       edgeCache
	serving     atomic.Int64 // requests

	replaceOnce sync.Once
	replaced    chan struct{} // closed when an engine from another program is to take over

	ctx    context.Context //nolint:containedctx // the engine's own life: supervision ends with it
	cancel context.CancelFunc
	wg     sync.WaitGroup // supervision and background work

	journalFails atomic.Bool                     // the last event could not be kept
	halting      atomic.Bool                     // the host goes down
	features     func() (cgroup.Features, error) // of the host, looked up once

	mu        sync.Mutex
	units     map[string]*Unit             // by id
	networks  map[string]netdriver.Network // by full name
	reserved  map[string]bool              // names of containers that are being created
	execs     map[string]*Exec             // by id
	kept      map[string]int               // ids of containers that keep their addresses and ports when they end, and for how many plans
	sandboxes map[string]*sandbox          // by id of the container

	imageHolds   holds
	volumeHolds  holds
	projectLocks keyedMutex // one verb at a time changes a project
	networkLocks keyedMutex // one request at a time makes a network of a name
}

// Open starts an engine over the state in paths: stores are opened, containers that run are adopted, leftovers of a crash
// are removed.
func Open(ctx context.Context, paths layout.Paths, k *keeper.Client, log *slog.Logger) (*Engine, error) {
	if err := paths.Create(); err != nil {
		return nil, fmt.Errorf("create the state folders: %w", err)
	}
	if err := paths.CheckFormat(); err != nil {
		return nil, err
	}
	e := &Engine{Paths: paths, Log: log, keeper: k, reaper: newRetainer(k), busy: newActivity(), asked: make(chan struct{}, 1), replaced: make(chan struct{}), units: map[string]*Unit{}, networks: map[string]netdriver.Network{}, reserved: map[string]bool{}, execs: map[string]*Exec{}, kept: map[string]int{}, sandboxes: map[string]*sandbox{}}
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
	if e.journal, err = journal.Open(e.Paths.Events()); err != nil {
		e.Log.Error("events will not be kept", "error", err) // nothing that runs needs them
	}
	parent, err := e.settle(ctx)
	if err != nil {
		return fmt.Errorf("find a place for cgroups: %w", err)
	}
	if e.runtime, err = runtime.New(runtime.Config{Dir: e.Paths.Runtime(), CgroupParent: parent, Reaper: e.reaper}); err != nil {
		return fmt.Errorf("open the runtime: %w", err)
	}
	if e.VolumeStore, err = volumes.Open(e.Paths.Volumes()); err != nil {
		return fmt.Errorf("open the volumes: %w", err)
	}
	if e.ImageStore, err = openImages(ctx, e.Paths.Images(), e.Log); err != nil {
		return fmt.Errorf("open the image store: %w", err)
	}
	if e.NetDriver, err = netdriver.New(ctx, netdriver.Config{
		StateDir: e.Paths.Root, PoolsFile: e.Paths.Config(), Instance: e.Paths.Instance(), Keeper: e.keeper, RelayProgram: relayProgram, Log: e.Log,
	}); err != nil {
		return fmt.Errorf("open the networks: %w", err)
	}
	e.Builder = builder.New(e.ctx, builder.Config{Root: e.Paths.Builder(), StateRoot: e.Paths.Root, Store: e.ImageStore, Runtime: e.runtime, Net: e.NetDriver, Busy: e.busy.begin, Rested: e.wasAsked, Log: e.Log})
	e.Upstreams = dns.NewHostUpstreams()
	e.dns = dns.New(e.ctx, dns.Config{Upstreams: e.Upstreams.Upstreams, DialClient: e.dialInside, Log: e.Log})
	e.names = names.New(e.dns)
	if err := e.adopt(ctx); err != nil {
		return fmt.Errorf("adopt what is there: %w", err)
	}
	e.wg.Go(e.followRestarts)
	if e.ImageStore.Unclean() {
		e.Background("collect what an engine that died has left", func() error { return e.ImageStore.GarbageCollect(e.ctx) })
	}
	e.Background("empty the trash", func() error { return emptyFolder(e.Paths.Trash()) })
	return nil
}

// Root is the state folder.
func (e *Engine) Root() string { return e.Paths.Root }

// Life is done when the engine ends.
func (e *Engine) Life() context.Context { return e.ctx }

// Background runs work that nobody waits for, but Close.
func (e *Engine) Background(what string, work func() error) {
	release := e.busy.begin()
	e.wg.Go(func() {
		defer release()
		if err := work(); err != nil {
			e.Log.Error(what, "error", err)
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
	if e.Builder != nil {
		errs = append(errs, e.Builder.Close())
	}
	if e.dns != nil {
		e.dns.Close()
	}
	if e.NetDriver != nil {
		errs = append(errs, e.NetDriver.Close(ctx))
	}
	if e.ImageStore != nil {
		errs = append(errs, e.ImageStore.Close())
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
