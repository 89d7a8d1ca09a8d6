package engine

import (
	"context"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"tutti/runtime"
	"tutti/runtime/logs"
	"tutti/runtime/statefile"
	"tutti/scheduler/access"
	"tutti/scheduler/api"
	"tutti/scheduler/container"
	"tutti/scheduler/plan"
	"tutti/scheduler/supervise"
)

// Unit is one container in the engine's care: its record on disk, its log, and while it runs its process and the
// goroutine that supervises it.
type Unit struct {
	ID     string
	dir    string
	Config container.Config // immutable; its name is the one it was created with, see Name
	Log    *logs.File       // nil with the logging driver "none"
	syncer *syncer          // told about every change of the record
	tap    *logs.File       // without a log: what those read who are attached

	shipping sync.Mutex // held by whoever sends the log on

	op     sync.Mutex // held by whoever starts, stops, pauses or removes the container
	probes sync.Mutex // held while health is probed; taken after op
	wiring sync.Mutex // held while the networks of a running container change, and while it loses them; taken after op

	renamed atomic.Pointer[string] // what a rename has called it; nil: the name of its configuration

	gate access.Gate // of those who look into its file system; closed, by who holds op, while it is started and removed

	mu      sync.Mutex // guards what follows
	state   container.State
	changed chan struct{} // closed at the next change of state
	process *runtime.Container
	cancel  context.CancelFunc // ends the supervision; nil when there is none
	done    chan struct{}      // closed when the supervision has ended
	removed bool
	unsaved bool        // the disk could not take the last state
	waits   []plan.Wait // what it waits for before it is started
	ending  bool        // the engine is about to end it, see endSoon
	life    *life       // the present run, or the last one of this engine
	size    api.Size    // of its terminal at its start

	// An earlier engine started it: back is closed when a client that was cut off has come back and gone.
	back     chan struct{}
	backOnce sync.Once
}

// tapSize bounds what is on disk for a client that keeps up with a container without a log.
const tapSize = 1 << 20

// newUnit opens a container's log. pipes is what an earlier engine read its output from, nil for none.
func newUnit(dir string, rec container.Record, pipes *logs.Pipes) (*Unit, error) {
	u := &Unit{ID: rec.ID, dir: dir, Config: rec.Config, state: rec.State, changed: make(chan struct{})}
	u.size = api.Size{Height: rec.ConsoleSize[0], Width: rec.ConsoleSize[1]}
	if rec.State.Name != "" {
		u.renamed.Store(&rec.State.Name)
	}
	var err error
	if rec.Log.Driver == "none" {
		u.tap, err = logs.Open(filepath.Join(dir, "output"), logs.Options{MaxSize: tapSize, Resume: pipes, Volatile: true, Logger: slog.Default()})
		return u, err
	}
	u.Log, err = logs.Open(u.logPath(), logs.Options{
		MaxSize: rec.Log.MaxSize, MaxFiles: rec.Log.MaxFiles, Attributes: rec.LogAttributes(), Resume: pipes, Logger: slog.Default(),
	})
	return u, err
}

func (u *Unit) recordPath() string { return recordPath(u.dir) }
func (u *Unit) logPath() string    { return filepath.Join(u.dir, u.ID+"-json.log") }
func recordPath(dir string) string { return filepath.Join(dir, "container.json") }
func (u *Unit) upper() string      { return filepath.Join(u.dir, "upper") }
func (u *Unit) work() string       { return filepath.Join(u.dir, "work") }

// Name is what the container is called now.
func (u *Unit) Name() string {
	if name := u.renamed.Load(); name != nil {
		return *name
	}
	return u.Config.Name
}

// Now is the configuration with the name and the networks that the container has now.
func (u *Unit) Now() *container.Config {
	c := u.Config.Now(u.Snapshot())
	return &c
}

// Snapshot is the container's state now.
func (u *Unit) Snapshot() container.State { u.mu.Lock(); defer u.mu.Unlock(); return u.state }

// update changes the state, remembers it on disk and wakes who waits for it. The disk write comes first: what others act
// upon is never newer than what a new engine would find, but when the disk is full: what has happened has happened, and is
// written down as soon as that is possible. Until then the keeper remembers how a container ended.
func (u *Unit) update(change func(*container.State)) (container.State, error) {
	s, err := u.updateNow(change)
	if diskTrouble(err) {
		return s, nil
	}
	return s, err
}

// updateNow is update for a change that must not go on without the disk.
func (u *Unit) updateNow(change func(*container.State)) (container.State, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	next := u.state
	change(&next)
	if next.Healthy.IsZero() && next.HealthStatus() == supervise.Healthy {
		next.Healthy = time.Now().UTC()
	}
	if next.Health == nil && u.state.Health != nil {
		next.Probes = u.state.Health.Log
	}
	var err error
	if !u.removed {
		err = u.write(next)
		u.unsaved = err != nil
		u.syncer.add(u)
	}
	u.state = next
	close(u.changed)
	u.changed = make(chan struct{})
	return next, err
}

// write stores the record; mu is held.
func (u *Unit) write(s container.State) error {
	return statefile.Write(u.recordPath(), container.Record{Config: u.Config, State: s})
}

// note changes the state in memory alone: for what nobody waits for and a new engine finds out by itself.
func (u *Unit) note(change func(*container.State)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	change(&u.state)
}

// waitsFor is what the container waits for before it is started; nothing when it does not wait.
func (u *Unit) waitsFor() []plan.Wait {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.waits
}

func (u *Unit) setWaits(w []plan.Wait) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.waits = w
}

// AddWait adds something to what the container waits for, until the returned function is called.
func (u *Unit) AddWait(w plan.Wait) (done func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.waits = append(slices.Clip(u.waits), w)
	return func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.waits = slices.DeleteFunc(slices.Clone(u.waits), func(other plan.Wait) bool { return other == w })
	}
}

// Wait blocks until ok says that the state is as wanted, or returns an error, or ctx is done.
func (u *Unit) Wait(ctx context.Context, ok func(container.State) (bool, error)) error {
	for {
		u.mu.Lock()
		state, changed := u.state, u.changed
		u.mu.Unlock()
		if done, err := ok(state); done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// Stopped says whether the container neither runs nor is about to be started again.
func (u *Unit) Stopped() bool {
	s := u.Snapshot()
	return !s.Alive() && !isRestarting(s)
}

// Running returns the process of a container that runs, or nil.
func (u *Unit) Running() *runtime.Container {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.process
}

// Process is Running for who has seen in the state that the container runs. A start says so before its program begins, and
// an end takes the process away before it is recorded: in these moments it waits for what comes of them.
func (u *Unit) Process(ctx context.Context) (p *runtime.Container, err error) {
	err = u.Wait(ctx, func(s container.State) (bool, error) {
		p = u.Running()
		return p != nil || !s.Alive(), nil
	})
	return p, err
}

// setProcess makes known that a container runs, to those too who wait for its process.
func (u *Unit) setProcess(p *runtime.Container, cancel context.CancelFunc, done chan struct{}) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.process, u.cancel, u.done = p, cancel, done
	close(u.changed)
	u.changed = make(chan struct{})
}

// supervised is closed when the supervision of the present run has ended.
func (u *Unit) supervised() <-chan struct{} {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.done
}

// setSize says how large the terminal is to be at its start.
func (u *Unit) setSize(s api.Size) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.size = s
}

func (u *Unit) terminalSize() api.Size {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.size
}
