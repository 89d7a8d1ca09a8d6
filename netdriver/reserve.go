package netdriver

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"tutti/netdriver/netns"
)

// What a container has of the networks has a life of its own: it is reserved before the container runs, so that what many
// containers need can be brought into force by one change of the firewall, and it outlives a run that is to be followed by
// another, for which nothing has to change then:
//
//	Reserve    addresses, sockets that hold the ports, and with Settle the rules
//	Attach     the links
//	Publish    what comes by the ports is led into the container
//	Vacate     it has ended: who connects is refused, all else stays
//	Handover   the same for another container in its place
//	Detach     nothing is left of it
//
// A rule that leads to an address which nobody has would make clients wait. So the links of a run that has ended stay in
// its namespace until those of the next one are made, and who reserves long before a start attaches to a namespace without
// a process: the kernel refuses connections there.

// Reservation is what a container is to have: all of it, whatever it had before.
type Reservation struct {
	ContainerID string
	Endpoints   []EndpointSpec
	Ports       []PortSpec
	// Ahead is for a container that runs, is about to end, and will be followed by another one, which is to have this by
	// [Driver.Handover]. It loses the ports that the other one does not want, but no network. Without endpoints that is all.
	Ahead bool
}

// Reserve gives containers that do not run their addresses and ports. Those that they have already stay theirs; what else
// they have is given back. The rules are in force after [Driver.Settle]. The errors are those of the reservations, by their
// places: one that fails has nothing, and concerns no other.
func (d *Driver) Reserve(ctx context.Context, all ...Reservation) []error {
	errs := make([]error, len(all))
	for _, r := range all { // what one of them gives up may be what another one wants
		_, _ = d.yieldPorts(r.ContainerID, r.Ports) // it fails where there is nothing to be given up
	}
	for _, static := range []bool{true, false} { // an address that somebody asks for is given to nobody else
		for i, r := range all {
			if static == slices.ContainsFunc(r.Endpoints, func(s EndpointSpec) bool { return s.IPv4.IsValid() || s.IPv6.IsValid() }) {
				errs[i] = d.reserveEndpoints(ctx, r)
			}
		}
	}
	for i, r := range all {
		if errs[i] == nil && len(r.Endpoints) > 0 {
			_, _, errs[i] = d.enterPorts(r.ContainerID, r.Ports)
		}
		if errs[i] != nil && !r.Ahead {
			d.remove(r.ContainerID, func(*endpoint) bool { return true })
		}
	}
	return errs
}

// reserveEndpoints makes the endpoints of a container those of the reservation.
func (d *Driver) reserveEndpoints(ctx context.Context, r Reservation) error {
	switch {
	case r.Ahead && !d.has(r.ContainerID):
		return fmt.Errorf("container %s has ended", r.ContainerID)
	case !r.Ahead:
		d.remove(r.ContainerID, func(e *endpoint) bool {
			return !slices.ContainsFunc(r.Endpoints, func(s EndpointSpec) bool { return e.suits(s) })
		})
	}
	specs, wanted := complete(r.Endpoints)
	var all []*endpoint
	for _, spec := range specs {
		e, err := d.reserve(ctx, r.ContainerID, spec, wanted)
		if err != nil {
			return fmt.Errorf("attach %s to network %s: %w", spec.Name, d.nameOf(spec.NetworkID), err)
		}
		if r.Ahead && !e.suits(spec) {
			return fmt.Errorf("%s has another address on network %s until it ends", spec.Name, d.nameOf(spec.NetworkID))
		}
		all = append(all, e)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.containers[r.ContainerID]
	if c == nil {
		return nil
	}
	if r.Ahead { // ports lead to what comes first
		rest := slices.DeleteFunc(c.endpoints, func(e *endpoint) bool { return slices.Contains(all, e) })
		c.endpoints = slices.Concat(all, rest)
		return nil
	}
	c.vacant, c.endpoints = false, nil
	for i, e := range all { // in this order, which the names of interfaces follow
		c.describe(e, specs[i], wanted)
		c.endpoints = append(c.endpoints, e)
	}
	return nil
}

// has tells whether a container has anything of the networks.
func (d *Driver) has(containerID string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.containers[containerID] != nil
}

// Revert takes back what was reserved ahead for another in the place of a container that goes on running: it has these
// ports again, as far as nobody else has them now.
func (d *Driver) Revert(ctx context.Context, containerID string, ports []PortSpec) error {
	d.remove(containerID, func(e *endpoint) bool { return e.link == (link{}) })
	if !d.has(containerID) {
		return nil
	}
	_, err := d.Publish(ctx, containerID, ports)
	return err
}

// suits tells whether the endpoint's addresses are those that a specification asks for.
func (e *endpoint) suits(s EndpointSpec) bool {
	wants := func(wish netip.Addr, has netip.Prefix) bool { return !wish.IsValid() || wish == has.Addr() }
	return e.NetworkID == s.NetworkID && wants(s.IPv4, e.IPv4) && wants(s.IPv6, e.IPv6)
}

// Vacate says that a container has ended, and that it or another one in its place will run again: it keeps its addresses
// and ports. Until then who connects is refused.
func (d *Driver) Vacate(containerID string) error {
	d.mu.Lock()
	c := d.containers[containerID]
	var bindings []*binding
	if c != nil {
		c.vacant = true
		bindings = slices.Clone(c.bindings)
		for _, b := range bindings {
			b.open = false
		}
	}
	d.mu.Unlock()
	for _, b := range bindings {
		if err := b.socket.Rest(); err != nil {
			return fmt.Errorf("close port %s: %w", b.socket.Name(), err)
		}
	}
	return nil
}

// Abandon gives back what a container has kept since [Driver.Vacate]. If it has been reserved anew since, nothing happens.
func (d *Driver) Abandon(containerID string) {
	d.mu.Lock()
	c := d.containers[containerID]
	vacant := c != nil && c.vacant
	d.mu.Unlock()
	if vacant {
		d.remove(containerID, func(*endpoint) bool { return true })
	}
}

// Handover makes what a container has kept since [Driver.Vacate] another's, which is made in its place and does not have
// anything yet.
func (d *Driver) Handover(from, to string) error {
	d.mu.Lock()
	c := d.containers[from]
	if c == nil || !c.vacant || d.containers[to] != nil {
		d.mu.Unlock()
		return nil
	}
	for _, e := range c.endpoints {
		e.ContainerID, e.key = to, d.linkName(to, e.NetworkID)
		if e.network.Bridged() {
			e.HostInterface = e.key
		}
	}
	delete(d.containers, from)
	d.containers[to] = c
	d.mu.Unlock()
	if d.cfg.Keeper == nil {
		return nil
	}
	return d.cfg.Keeper.Release(SocketsID(from)) // the other's are held when it runs
}

// Gather keeps what is being removed until release is called, so that it goes together: one change of the firewall for all
// of it. Who needs a name or an address of it back does not wait.
func (d *Driver) Gather() (release func()) { return d.bin.hold() }

// leaveOthers removes the links of a container that are not in the namespace with the inode, or have another name there: of
// a run that has ended.
func (d *Driver) leaveOthers(ctx context.Context, containerID string, inode uint64) error {
	w := waste{urgent: true}
	d.mu.Lock()
	if c := d.containers[containerID]; c != nil {
		for _, e := range c.endpoints {
			if e.link == (link{}) || e.link.at == inode && e.link.name == e.Interface {
				continue
			}
			if host, child := e.unlink(); child != nil {
				w.children = append(w.children, *child)
			} else if host != "" {
				w.links = append(w.links, host)
			}
		}
	}
	d.mu.Unlock()
	if len(w.links) == 0 && len(w.children) == 0 {
		return nil
	}
	gone := make(chan struct{})
	w.done = func() { close(gone) }
	d.bin.put(w)
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-d.bin.ended:
		return context.Canceled
	}
}

// dwell holds the namespace in which a container's links are. Nobody waits for d.mu while the kernel is asked.
func (d *Driver) dwell(containerID string, in *inside) error {
	held, err := netns.Open(in.ns.Path())
	if err != nil {
		return fmt.Errorf("hold the namespace of container %s: %w", containerID, err)
	}
	d.mu.Lock()
	if c := d.containers[containerID]; c != nil && (c.ns == nil || c.dwelling != in.inode) {
		c.ns, held = held, c.ns
		c.dwelling = in.inode
	}
	d.mu.Unlock()
	held.Close() // what was held before, or what is not needed
	return nil
}
