package scheduler

import (
	"cmp"
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
	starts  []string        // ids of containers that are started
	release func()          // what is taken away goes now

	work sync.WaitGroup // in the background
	stop context.CancelFunc
	ctx  context.Context //nolint:containedctx // the work's: it ends with the walk

	wave  sync.Mutex      // one at a time
	ahead map[string]bool // ids of containers that others have their ports of, or are to succeed; guarded by wave

	mu       sync.Mutex
	waves    *plan.Waves
	begun    map[string]bool   // containers whose start is on its way: by their names
	ids      map[string]string // of containers that are made by the plan, by their names
	reserved map[string]string // ids of containers by their names
	networks []string          // that were made
}

// wire begins to wire a plan. end has to be called.
func (r *run) wire(ctx context.Context, p *plan.Plan) *wiring {
	w := &wiring{r: r, late: p.Late(), waves: plan.NewWaves(p), begun: map[string]bool{}, ids: map[string]string{}, reserved: map[string]string{}, ahead: map[string]bool{}, release: func() {}}
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
	w.kept = slices.DeleteFunc(w.kept, func(id string) bool { return r.losers[id] })
	for _, op := range p.Ops {
		if op.Kind == plan.StartContainer && !r.losers[op.ContainerID] {
			w.starts = append(w.starts, cmp.Or(op.ContainerID, w.id(op.Container)))
		}
	}
	r.s.KeepNetworks(slices.Concat(w.kept, w.starts), 1)
	if w.waves.Removing() {
		w.release = sync.OnceFunc(r.s.NetDriver.Gather())
	}
	r.wiring = w
	return w
}

// end gives back what is left.
func (w *wiring) end(ctx context.Context) {
	w.stop()
	w.work.Wait()
	w.r.wiring = nil
	w.r.s.KeepNetworks(slices.Concat(w.kept, w.starts), -1)
	w.mu.Lock()
	ids := slices.Concat(w.kept, w.starts, slices.Collect(maps.Values(w.reserved)), slices.Collect(maps.Values(w.ids)))
	w.mu.Unlock()
	release := w.r.s.NetDriver.Gather()
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		w.r.s.Withdraw(id)
	}
	for id := range w.ahead {
		w.r.s.Revert(id)
	}
	w.release()
	release()
	if err := w.r.s.NetDriver.Settle(context.WithoutCancel(ctx)); err != nil { // of networks that nobody came to be on
		w.r.s.Log.Error("change the firewall", "error", err)
	}
}

// told notes that a container of the plan has been told to end.
func (w *wiring) told(op plan.Op) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waves.Told(op.ContainerID)
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
	w.wave.Lock()
	defer w.wave.Unlock()
	delete(w.ahead, u.ID)
	return w.r.s.NetDriver.Handover(u.ID, w.id(u.Name()))
}

// begin reserves all that can be reserved, and waits until the firewall is as it has to be. When that is not possible, the
// networks that were made for it go again.
func (w *wiring) begin(ctx context.Context) error {
	w.wave.Lock()
	w.reserve(ctx)
	w.wave.Unlock()
	w.mu.Lock()
	later := len(w.reserved) == 0 && len(w.starts) > 0 // the networks that were made are for containers whose places are taken yet
	w.mu.Unlock()
	if later {
		return nil
	}
	err := w.r.s.NetDriver.Settle(ctx)
	if err == nil {
		return nil
	}
	err = fmt.Errorf("change the firewall: %w", err)
	w.stop()
	w.work.Wait()
	w.mu.Lock()
	made, reserved := w.networks, slices.Collect(maps.Values(w.reserved))
	w.mu.Unlock()
	for _, id := range reserved { // or the networks would be in use
		w.r.s.Withdraw(id)
	}
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
	for _, op := range w.startable() {
		c, err := w.config(op)
		if err != nil || !c.OwnNetwork() || len(c.Networks) == 0 {
			continue
		}
		if r, err := w.reservation(ctx, c); err == nil {
			all, configs = append(all, r), append(configs, c)
		}
	}
	if len(all) == 0 {
		return
	}
	all = append(all, w.successions(ctx)...)
	for i, err := range w.r.s.NetDriver.Reserve(ctx, all...) {
		if err != nil || all[i].Ahead {
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

// reservation is what a container is to have. While the plan is still to make a network of it anew, it only gives up the ports
// that it will not have.
func (w *wiring) reservation(ctx context.Context, c *container.Config) (netdriver.Reservation, error) {
	if w.changes(c) {
		ports, err := engine.PortSpecs(c.Ports)
		return netdriver.Reservation{ContainerID: c.ID, Ports: ports, Ahead: true}, err
	}
	if err := w.r.s.EnsureDefaultBridge(ctx, *c); err != nil {
		return netdriver.Reservation{}, err
	}
	return w.r.s.Reservation(c)
}

// successions are what those are to have that take the places of containers which have been told to end, and what is free then.
func (w *wiring) successions(ctx context.Context) []netdriver.Reservation {
	w.mu.Lock()
	ending := w.waves.Ending()
	starts := map[string]plan.Op{}
	for _, op := range ending {
		if start, ok := w.waves.Started(op.Container); ok && start.ContainerID == "" {
			starts[op.ContainerID] = start
		}
	}
	w.mu.Unlock()
	var all []netdriver.Reservation
	for _, op := range ending {
		r := netdriver.Reservation{ContainerID: op.ContainerID, Ahead: true}
		if start, ok := starts[op.ContainerID]; ok {
			c, err := w.r.outline(start.Service)
			if err != nil {
				continue
			}
			c.ID, c.Name = op.ContainerID, op.Container
			if r, err = w.reservation(ctx, &c); err != nil {
				continue
			}
			if r.Ahead = true; !slices.Contains(w.kept, c.ID) || !c.OwnNetwork() {
				r.Endpoints = nil // the other one begins with nothing
			}
		}
		w.ahead[op.ContainerID] = true
		all = append(all, r)
	}
	return all
}

// startable are the containers to be started that nothing of the plan is in the way of, and for which nothing is reserved.
func (w *wiring) startable() []plan.Op {
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
