package scheduler

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"tutti/netdriver"
	"tutti/scheduler/container"
	"tutti/scheduler/engine"
	"tutti/scheduler/plan"
)

// wiring is what a plan does to the networks as a whole. The firewall is changed once for all of it, however many containers
// there are: before they are made, for all that the plan starts; at the end, for all that it has taken away. In between
// nothing has to change. A container that is started anew, or another in its place, finds its addresses and ports as they
// were.
//
// Rules and addresses are there before the containers, some of which may start minutes later: those get a namespace in the
// background, where connections are refused as long as nobody listens. What is reserved for a container that does not start
// in the end is given back. An engine that dies in between leaves rules alone, which the next one does not want.
type wiring struct {
	r       *run
	late    map[string]bool // by container, those that others start before
	kept    []string        // ids of containers that end, and whose networks do not
	release func()          // what is taken away goes now

	work sync.WaitGroup // in the background
	stop context.CancelFunc
	ctx  context.Context //nolint:containedctx // the work's: it ends with the walk

	wave sync.Mutex // one at a time

	mu       sync.Mutex
	waves    *plan.Waves
	begun    map[string]bool   // containers whose start is on its way: by their names
	ids      map[string]string // of containers that are made by the plan, by their names
	reserved map[string]string // ids of containers by their names
	networks []string          // that were made
}

// wire begins to wire a plan. end has to be called.
func (r *run) wire(ctx context.Context, p *plan.Plan) *wiring {
	w := &wiring{r: r, late: p.Late(), waves: plan.NewWaves(p), begun: map[string]bool{}, ids: map[string]string{}, reserved: map[string]string{}, release: func() {}}
	w.ctx, w.stop = context.WithCancel(ctx)
	w.kept = p.Outlive(func(id string) []string {
		var names []string
		if u, err := r.s.FindUnit(id); err == nil {
			for _, a := range u.Now().Networks {
				names = append(names, a.Network)
			}
		}
		return names
	})
	r.s.KeepNetworks(w.kept, 1)
	if w.waves.Removing() {
		w.release = sync.OnceFunc(r.s.NetDriver.Gather())
	}
	r.wiring = w
	return w
}

// end gives back what is left, and reports what could not be brought into force.
func (w *wiring) end() {
	w.stop()
	w.work.Wait()
	w.r.wiring = nil
	w.r.s.KeepNetworks(w.kept, -1)
	w.mu.Lock()
	ids := slices.Concat(w.kept, slices.Collect(maps.Values(w.reserved)), slices.Collect(maps.Values(w.ids)))
	w.mu.Unlock()
	for _, id := range ids {
		w.r.s.Withdraw(id)
	}
	w.release()
}

// over notes that an operation has been done.
func (w *wiring) over(op plan.Op) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.waves.Over(op); !w.waves.Removing() {
		w.release()
	}
}

// id is that of a container which the plan makes. It is known before, so that its addresses and ports can be.
func (w *wiring) id(name string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ids[name] == "" {
		w.ids[name] = engine.NewID()
	}
	return w.ids[name]
}

// made notes that a network was made for the plan.
func (w *wiring) made(network string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.networks = append(w.networks, network)
}

// succeed makes the addresses and ports of a container that is removed those of the one that the plan makes in its place.
func (w *wiring) succeed(u *engine.Unit) error {
	if !slices.Contains(w.kept, u.ID) {
		return nil
	}
	return w.r.s.NetDriver.Handover(u.ID, w.id(u.Name()))
}

// begin reserves all that can be reserved, and waits until the firewall is as it has to be. When that is not possible, the
// networks that were made for it go again.
func (w *wiring) begin(ctx context.Context) error {
	w.wave.Lock()
	w.reserve(ctx)
	w.wave.Unlock()
	err := w.r.s.NetDriver.Settle(ctx)
	if err == nil {
		return nil
	}
	err = fmt.Errorf("change the firewall: %w", err)
	w.mu.Lock()
	made := w.networks
	w.mu.Unlock()
	for _, n := range made {
		err = errors.Join(err, w.r.s.DropNetwork(context.WithoutCancel(ctx), n))
	}
	return err
}

// ready reserves what a container that is about to start needs, if that has not been done, and of the others all that can
// be. What is wrong with it is said by its start.
func (w *wiring) ready(ctx context.Context, op plan.Op) {
	w.mu.Lock()
	done := w.reserved[op.Container] != ""
	w.mu.Unlock()
	if done {
		return
	}
	w.wave.Lock()
	defer w.wave.Unlock()
	w.reserve(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.begun[op.Container] = true
}

// reserve is one wave: all containers for which it is possible now. One that fails is tried again when it is started. w.wave
// is held.
func (w *wiring) reserve(ctx context.Context) {
	var all []netdriver.Reservation
	var configs []*container.Config
	for _, op := range w.starts() {
		c, err := w.config(op)
		if err != nil || !c.OwnNetwork() || len(c.Networks) == 0 || w.changes(c) || w.r.s.EnsureDefaultBridge(ctx, *c) != nil {
			continue
		}
		if r, err := w.r.s.Reservation(c); err == nil {
			all, configs = append(all, r), append(configs, c)
		}
	}
	if len(all) == 0 {
		return
	}
	for i, err := range w.r.s.NetDriver.Reserve(ctx, all...) {
		if err != nil {
			continue
		}
		c := configs[i]
		w.mu.Lock()
		w.reserved[c.Name] = c.ID
		w.mu.Unlock()
		if w.late[c.Name] && len(c.Ports) > 0 {
			w.work.Go(w.r.s.Sandbox(w.ctx, all[i]))
		}
	}
}

// starts are the containers to be started that nothing of the plan is in the way of, and for which nothing is reserved.
func (w *wiring) starts() []plan.Op {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.DeleteFunc(w.waves.Starts(), func(op plan.Op) bool { return w.reserved[op.Container] != "" || w.begun[op.Container] })
}

// changes tells whether the plan is still to change a network of the container.
func (w *wiring) changes(c *container.Config) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(c.Networks, func(a container.Attachment) bool { return w.waves.Changes(a.Network) })
}

// config is the configuration of a container that is to be started, as far as it concerns the networks when the container
// is not made yet.
func (w *wiring) config(op plan.Op) (*container.Config, error) {
	if u, err := w.r.unit(op); err == nil {
		if !u.Stopped() {
			return nil, errors.New("it is started by others")
		}
		return u.Now(), nil
	}
	c, err := w.r.outline(op.Service)
	c.ID, c.Name = w.id(op.Container), op.Container
	return &c, err
}
