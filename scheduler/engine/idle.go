package engine

import (
	"context"
	"sync"

	"tutti/netdriver"
	"tutti/netdriver/netns"
	"tutti/scheduler/container"
)

// What containers have of the networks while they do not run: before their first run, and between two.

// sandbox is a network namespace with a container's links, made before it starts.
type sandbox struct {
	once sync.Once
	ns   *netns.NS // nil: it could not be made, or there was no time for it
}

// Sandbox announces a namespace for a container that starts later, where connections are refused until then. The returned
// function makes it, unless the container starts first or ctx is done.
func (e *Engine) Sandbox(ctx context.Context, r netdriver.Reservation) (make func()) {
	s := &sandbox{}
	e.mu.Lock()
	e.sandboxes[r.ContainerID] = s
	e.mu.Unlock()
	return func() {
		s.once.Do(func() {
			if ctx.Err() != nil {
				return
			}
			ns, err := netns.New()
			if err == nil {
				_, err = e.NetDriver.Attach(ctx, r.ContainerID, ns, r.Endpoints)
			}
			if err != nil { // which its start will say
				ns.Close()
				return
			}
			s.ns = ns
		})
	}
}

// takeSandbox returns the namespace that was made for a container, nil if none was.
func (e *Engine) takeSandbox(id string) *netns.NS {
	e.mu.Lock()
	s := e.sandboxes[id]
	delete(e.sandboxes, id)
	e.mu.Unlock()
	if s == nil {
		return nil
	}
	s.once.Do(func() {}) // who is at it makes it
	return s.ns
}

// Reservation is all that a container is to have of the networks.
func (e *Engine) Reservation(c *container.Config) (netdriver.Reservation, error) {
	r := netdriver.Reservation{ContainerID: c.ID}
	var err error
	if r.Endpoints, _, err = e.endpointSpecs(c); err == nil {
		r.Ports, err = PortSpecs(c.Ports)
	}
	return r, err
}

// KeepNetworks says, by one more or one less, that containers keep their addresses and ports when they end.
func (e *Engine) KeepNetworks(ids []string, by int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, id := range ids {
		if e.kept[id] += by; e.kept[id] == 0 {
			delete(e.kept, id)
		}
	}
}

// abandon gives back what a container has kept that has ended, unless a plan goes on with it.
func (e *Engine) abandon(u *Unit) {
	e.mu.Lock()
	kept := e.kept[u.ID] > 0
	e.mu.Unlock()
	if !kept {
		e.NetDriver.Abandon(u.ID)
	}
}

// forgo gives back what a container had for a start that failed. In a plan that is for its end, where all of that goes together.
func (e *Engine) forgo(ctx context.Context, id string) error {
	e.mu.Lock()
	kept := e.kept[id] > 0
	e.mu.Unlock()
	if kept {
		return e.NetDriver.Vacate(id)
	}
	return e.NetDriver.Detach(ctx, id)
}

// Revert takes back what was reserved for another in the place of a container, if that runs on.
func (e *Engine) Revert(id string) {
	e.mu.Lock()
	u := e.units[id]
	e.mu.Unlock()
	if u == nil {
		return
	}
	u.op.Lock()
	defer u.op.Unlock()
	if !u.Snapshot().Alive() {
		return
	}
	ports, err := PortSpecs(u.Config.Ports)
	if err == nil {
		err = e.NetDriver.Revert(e.ctx, id, ports)
	}
	if err != nil {
		e.Log.Error("publish the ports of a container again that did not end", "container", u.Name(), "error", err)
	}
}

// Withdraw gives back what was reserved for a container that neither runs nor is about to.
func (e *Engine) Withdraw(id string) {
	e.takeSandbox(id).Close()
	e.mu.Lock()
	u := e.units[id]
	e.mu.Unlock()
	if u != nil {
		u.op.Lock()
		defer u.op.Unlock()
		if !u.Stopped() {
			return
		}
	}
	if err := e.NetDriver.Detach(e.ctx, id); err != nil {
		e.Log.Error("give back what was reserved", "container", id, "error", err)
	}
}
