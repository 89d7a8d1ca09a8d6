package netdriver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"tutti/netdriver/portmap"
)

// ErrPortTaken is returned when another program or container has the port of the host.
var ErrPortTaken = errors.New("port is taken")

// binding is a published port and the socket that holds it.
type binding struct {
	PortBinding
	socket *portmap.Socket
	open   bool // whoever connects is led into the container; before, he is refused
}

func (b *binding) target() netip.AddrPort { return netip.AddrPortFrom(b.ContainerIP, b.ContainerPort) }

func (b *binding) rule() portmap.Port {
	return portmap.Port{Proto: b.Proto, Host: netip.AddrPortFrom(b.HostIP, b.HostPort), Container: b.target()}
}

// Publish leads ports of the host into the container: to the network with its default route, or the first that is not
// internal. They are all that it has then: a port that is published already is left as it is, one that is not asked for is
// given back. If one fails none is added. A container on internal networks alone has no ports, as with Docker; the log says
// so.
func (d *Driver) Publish(ctx context.Context, containerID string, specs []PortSpec) ([]PortBinding, error) {
	to, result, err := d.enterPorts(containerID, specs)
	if err != nil {
		return nil, err
	}
	if to == nil && len(specs) > 0 {
		d.log.Warn("ports are not published: the container has no bridge network that leads out", "container", containerID)
	}
	return result, d.enforce(ctx, containerID, to)
}

// enterPorts takes the ports that a container is to have, and gives back what it has besides. Until [Driver.enforce]
// whoever connects is refused. to is where they lead, nil if all its networks are internal.
func (d *Driver) enterPorts(containerID string, specs []PortSpec) (to *endpoint, all []PortBinding, err error) {
	stay, err := d.yieldPorts(containerID, specs)
	if err != nil {
		return nil, nil, err
	}
	to, all = stay.to, stay.openings
	var made []*binding
	for i, spec := range stay.placed {
		more, err := d.openRest(spec, stay.there[i], to)
		if err != nil {
			closeSockets(made)
			return nil, nil, err // which names the port
		}
		made = append(made, more...)
		for _, b := range slices.Concat(stay.there[i], more) {
			found := b.PortBinding
			found.ContainerIP = to.address(b.HostIP)
			all = append(all, found)
		}
	}
	return to, all, d.enterBindings(containerID, to, made, stay.openings)
}

// wantedPorts are the ports that a container is to have.
type wantedPorts struct {
	to       *endpoint     // where they lead, nil if all its networks are internal
	placed   []PortSpec    // what is to be had of the host
	there    [][]*binding  // what it has of each of these
	openings []PortBinding // what is reached at its own address
}

// yieldPorts gives back what a container has besides the ports that it is to have.
func (d *Driver) yieldPorts(containerID string, specs []PortSpec) (wantedPorts, error) {
	to, has, err := d.publishTarget(containerID)
	if err != nil {
		return wantedPorts{}, err
	}
	if to == nil {
		specs = nil
	}
	w := wantedPorts{to: to}
	used := map[*binding]bool{}
	for _, spec := range specs {
		spec.Proto = cmp.Or(spec.Proto, "tcp")
		spec, bound, opened := to.place(spec)
		if w.openings = append(w.openings, opened...); bound {
			w.placed, w.there = append(w.placed, spec), append(w.there, fulfilling(has, used, spec))
		}
	}
	if len(used) < len(has) {
		d.unpublish(containerID, func(b *binding) bool { return slices.Contains(has, b) && !used[b] })
	}
	return w, nil
}

// enterBindings enters ports that have been taken, leads those there are to the outlet, and makes the openings those given.
func (d *Driver) enterBindings(containerID string, to *endpoint, made []*binding, openings []PortBinding) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.containers[containerID]
	if c == nil {
		closeSockets(made)
		return fmt.Errorf("publish ports: container %s was detached meanwhile", containerID)
	}
	for _, b := range c.bindings {
		if to != nil && b.ContainerIP != to.address(b.HostIP) {
			b.ContainerIP, b.open, d.unsettled = to.address(b.HostIP), false, true
		}
	}
	d.unsettled = d.unsettled || len(made) > 0 || !slices.Equal(c.openings, openings)
	c.bindings, c.openings = append(c.bindings, made...), openings
	return nil
}

// publishTarget returns the endpoint that ports lead to, nil if all are on internal
// networks, and the ports there are.
func (d *Driver) publishTarget(containerID string) (*endpoint, []*binding, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.containers[containerID]
	if c == nil || len(c.endpoints) == 0 {
		return nil, nil, fmt.Errorf("publish ports: container %s is attached to no network", containerID)
	}
	return c.outlet(), slices.Clone(c.bindings), nil
}

// fulfilling returns the bindings that fulfil the specification, of those that fulfil no other yet: one for each of its
// addresses, with the same port. They are used then.
func fulfilling(has []*binding, used map[*binding]bool, s PortSpec) []*binding {
	var found []*binding
	for _, addr := range s.addresses() {
		i := slices.IndexFunc(has, func(b *binding) bool {
			first, last := s.HostPort, max(s.HostPort, s.HostPortEnd)
			if len(found) > 0 {
				first, last = found[0].HostPort, found[0].HostPort
			}
			inRange := first == 0 || first <= b.HostPort && b.HostPort <= last
			return !used[b] && inRange && b.HostIP == addr && b.Proto == s.Proto && b.ContainerPort == s.ContainerPort && b.Input == s.Input
		})
		if i >= 0 {
			used[has[i]] = true
			found = append(found, has[i])
		}
	}
	return found
}

// enforce leads what comes by the ports of a container into it, lets the keeper hold their sockets, and brings the rules
// into force. If that fails those that are new are as if they never were.
func (d *Driver) enforce(ctx context.Context, containerID string, to *endpoint) error {
	var opened []*binding
	d.mu.Lock()
	if c := d.containers[containerID]; c != nil {
		for _, b := range c.bindings {
			if !b.open {
				opened = append(opened, b)
			}
		}
	}
	d.mu.Unlock()
	var err error
	if len(opened) > 0 {
		err = errors.Join(d.hairpin(to), d.openSockets(opened))
	}
	if err == nil {
		err = d.keep(containerID, opened)
	}
	if err == nil {
		err = d.Settle(ctx)
	}
	if err != nil {
		d.unpublish(containerID, func(b *binding) bool { return slices.Contains(opened, b) })
		return fmt.Errorf("publish ports: %w", err)
	}
	return d.forgetFlows(opened, toAnother)
}

// openSockets leads what comes by ports to where they lead.
func (d *Driver) openSockets(bindings []*binding) error {
	for _, b := range bindings {
		if err := b.socket.Lead(b.target()); err != nil {
			return err
		}
		d.mu.Lock()
		b.open = true
		d.mu.Unlock()
	}
	return nil
}

// hairpin lets the bridge send packets back to where they came from: with br_netfilter a
// container's connection to its own published port is redirected inside the bridge.
func (d *Driver) hairpin(e *endpoint) error {
	link, err := d.route.LinkByName(e.HostInterface)
	if err == nil {
		err = d.route.LinkSetHairpin(link, true)
	}
	if err != nil {
		return fmt.Errorf("set hairpin mode of %s: %w", e.HostInterface, err)
	}
	return nil
}

// unpublish takes ports of a container back in the background.
func (d *Driver) unpublish(containerID string, which func(*binding) bool) {
	d.mu.Lock()
	var dropped []*binding
	if c := d.containers[containerID]; c != nil {
		dropped = d.dropBindings(c, which)
	}
	d.surplus = d.surplus || len(dropped) > 0
	d.mu.Unlock()
	d.keepOnly(containerID, dropped)
	d.bin.put(waste{rules: true, done: func() { d.closeBindings(dropped) }})
}

// dropBindings takes bindings out of a container. Their sockets stay bound until the rules
// are gone, when closeBindings has to be called, or until somebody else publishes the same
// port. d.mu is held.
func (d *Driver) dropBindings(c *container, which func(*binding) bool) (dropped []*binding) {
	c.bindings = slices.DeleteFunc(c.bindings, func(b *binding) bool {
		if which(b) {
			dropped = append(dropped, b)
			d.parked[b.socket.Name()] = b.socket
		}
		return which(b)
	})
	return dropped
}

// closeBindings gives ports back whose rules are gone.
func (d *Driver) closeBindings(dropped []*binding) {
	var ended []*binding
	closed := make(chan struct{})
	d.mu.Lock()
	for _, b := range dropped {
		if name := b.socket.Name(); d.parked[name] == b.socket {
			delete(d.parked, name)
			d.closing[b.socket] = closed
			ended = append(ended, b)
		}
	}
	d.mu.Unlock()
	closeSockets(ended)
	d.mu.Lock()
	for _, b := range ended {
		delete(d.closing, b.socket)
	}
	d.mu.Unlock()
	close(closed)
	if err := errors.Join(d.forgetFlows(dropped, toContainer), d.stopRelay()); err != nil {
		d.log.Error("unpublish ports", "error", err)
	}
}

// closePorts lets go of all ports; those that the keeper has stay bound, and the relay goes on with those it has.
func (d *Driver) closePorts() error {
	d.mu.Lock()
	var all []*binding
	for _, c := range d.containers {
		all = append(all, c.bindings...)
	}
	d.mu.Unlock()
	for _, b := range all {
		b.socket.Forget()
	}
	err := d.stopRelay()
	d.relay.Close()
	return err
}

func closeSockets(bindings []*binding) {
	for _, b := range bindings {
		b.socket.Close()
	}
}
