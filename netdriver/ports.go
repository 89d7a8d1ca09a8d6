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
}

func (b *binding) target() netip.AddrPort { return netip.AddrPortFrom(b.ContainerIP, b.ContainerPort) }

func (b *binding) rule() portmap.Port {
	return portmap.Port{Proto: b.Proto, Host: netip.AddrPortFrom(b.HostIP, b.HostPort), Container: b.target()}
}

// Publish leads ports of the host into the container: to the network with its default route,
// or the first that is not internal. A port that is published already is left as it is; if
// one fails none is published. A container on internal networks alone has no ports, as with
// Docker; the log says so.
func (d *Driver) Publish(ctx context.Context, containerID string, specs []PortSpec) ([]PortBinding, error) {
	to, has, err := d.publishTarget(containerID)
	if err != nil || len(specs) == 0 {
		return nil, err
	}
	if to == nil {
		d.log.Warn("ports are not published: the container has no bridge network that leads out", "container", containerID)
		return nil, nil
	}
	var result, openings []PortBinding
	var made []*binding
	for _, spec := range specs {
		spec.Proto = cmp.Or(spec.Proto, "tcp")
		spec, bound, opened := to.place(spec)
		result, openings = append(result, opened...), append(openings, opened...)
		if !bound {
			continue
		}
		if there := published(has, spec); len(there) > 0 {
			result = append(result, there...)
			continue
		}
		bindings, err := d.open(ctx, spec, to)
		if err != nil {
			closeSockets(made)
			return nil, err // which names the port
		}
		made = append(made, bindings...)
		for _, b := range bindings {
			result = append(result, b.PortBinding)
		}
	}
	return result, d.enforce(ctx, containerID, to, made, d.enterOpenings(containerID, openings))
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

// published returns the bindings that fulfil the specification.
func published(has []*binding, s PortSpec) []PortBinding {
	var found []PortBinding
	for _, b := range has {
		inRange := s.HostPort == 0 || s.HostPort <= b.HostPort && b.HostPort <= max(s.HostPort, s.HostPortEnd)
		if b.Proto == s.Proto && b.ContainerPort == s.ContainerPort && b.Input == s.Input && inRange && slices.Contains(s.addresses(), b.HostIP) {
			found = append(found, b.PortBinding)
		}
	}
	return found
}

// enforce enters new bindings, lets the keeper hold their sockets, and brings the rules into
// force. If that fails they are as if they never were.
func (d *Driver) enforce(ctx context.Context, containerID string, to *endpoint, made []*binding, opened bool) error {
	if len(made) == 0 {
		if opened {
			return d.rules.sync(ctx)
		}
		return nil
	}
	d.mu.Lock()
	c := d.containers[containerID]
	if c != nil {
		c.bindings = append(c.bindings, made...)
	}
	d.mu.Unlock()
	if c == nil {
		closeSockets(made)
		return fmt.Errorf("publish ports: container %s was detached meanwhile", containerID)
	}
	for _, b := range made {
		b.socket.Lead(b.target())
	}
	err := d.hairpin(to)
	if err == nil {
		err = d.keep(containerID, made)
	}
	if err == nil {
		err = d.rules.sync(ctx)
	}
	if err != nil {
		d.unpublish(containerID, func(b *binding) bool { return slices.Contains(made, b) })
		return fmt.Errorf("publish ports: %w", err)
	}
	return d.forgetFlows(made, toAnother)
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
	d.mu.Lock()
	for _, b := range dropped {
		if name := b.socket.Name(); d.parked[name] == b.socket {
			delete(d.parked, name)
			ended = append(ended, b)
		}
	}
	d.mu.Unlock()
	closeSockets(ended)
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
