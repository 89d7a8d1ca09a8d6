package netdriver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"tutti/netdriver/portmap"
)

// ErrPortTaken is returned when another program or container has the port of the host.
var ErrPortTaken = errors.New("port is taken")

// ephemeralTries is how often a free port is looked for that is free in both families.
const ephemeralTries = 32

// binding is a published port and the socket that holds it.
type binding struct {
	PortBinding
	socket *portmap.Socket
}

func (b *binding) target() netip.AddrPort { return netip.AddrPortFrom(b.ContainerIP, b.ContainerPort) }

func (b *binding) rule() portmap.Port {
	return portmap.Port{Proto: b.Proto, Host: netip.AddrPortFrom(b.HostIP, b.HostPort), Container: b.target()}
}

// SocketsID is the id under which the keeper holds the port sockets of a container.
func SocketsID(containerID string) string { return "ports-" + containerID }

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
		d.log.Warn("ports are not published: all networks of the container are internal", "container", containerID)
		return nil, nil
	}
	var result []PortBinding
	var made []*binding
	for _, spec := range specs {
		spec.Proto = cmp.Or(spec.Proto, "tcp")
		if there := published(has, spec); len(there) > 0 {
			result = append(result, there...)
			continue
		}
		bindings, err := d.open(ctx, spec, to)
		if err != nil {
			closeSockets(made)
			return nil, err
		}
		made = append(made, bindings...)
		for _, b := range bindings {
			result = append(result, b.PortBinding)
		}
	}
	return result, d.enforce(ctx, containerID, to, made)
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
	var to *endpoint
	for _, e := range c.endpoints {
		if !e.network.Internal && (to == nil || e.DefaultRoute && !to.DefaultRoute) {
			to = e
		}
	}
	return to, slices.Clone(c.bindings), nil
}

// published returns the bindings that fulfil the specification.
func published(has []*binding, s PortSpec) []PortBinding {
	var found []PortBinding
	for _, b := range has {
		inRange := s.HostPort == 0 || s.HostPort <= b.HostPort && b.HostPort <= max(s.HostPort, s.HostPortEnd)
		if b.Proto == s.Proto && b.ContainerPort == s.ContainerPort && inRange && slices.Contains(s.addresses(), b.HostIP) {
			found = append(found, b.PortBinding)
		}
	}
	return found
}

// addresses returns the addresses of the host to bind.
func (s PortSpec) addresses() []netip.Addr {
	if !s.HostIP.IsValid() {
		return []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
	}
	return []netip.Addr{s.HostIP.Unmap()}
}

// open takes a port of the host for each address of the specification.
func (d *Driver) open(ctx context.Context, s PortSpec, to *endpoint) ([]*binding, error) {
	first, last := s.HostPort, max(s.HostPort, s.HostPortEnd)
	if first == 0 {
		last = ephemeralTries - 1 // of the attempts, not a port
	}
	var err error
	for n := int(first); n <= int(last); n++ {
		port := uint16(n)
		if first == 0 {
			port = 0
		}
		var bindings []*binding
		if bindings, err = d.openPort(ctx, s, port, to); err == nil {
			return bindings, nil
		}
		if !errors.Is(err, ErrPortTaken) {
			break
		}
	}
	if errors.Is(err, ErrPortTaken) && last > first && first != 0 {
		return nil, fmt.Errorf("ports %d-%d/%s: %w, the last one: %w", first, last, s.Proto, ErrPortTaken, err)
	}
	return nil, err
}

// openPort takes one port, with all addresses or with none.
func (d *Driver) openPort(ctx context.Context, s PortSpec, port uint16, to *endpoint) ([]*binding, error) {
	var made []*binding
	for _, addr := range s.addresses() {
		socket, err := d.listen(ctx, s.Proto, netip.AddrPortFrom(addr, port))
		if !s.HostIP.IsValid() && addr.Is6() && noIPv6(err) {
			continue
		}
		if err != nil {
			closeSockets(made)
			return nil, err
		}
		port = socket.Addr().Port()
		b := &binding{socket: socket, PortBinding: PortBinding{
			Proto: s.Proto, HostIP: addr, HostPort: port, ContainerIP: to.IPv4.Addr(), ContainerPort: s.ContainerPort,
		}}
		if addr.Is6() && to.IPv6.IsValid() {
			b.ContainerIP = to.IPv6.Addr()
		}
		made = append(made, b)
	}
	return made, nil
}

// listen takes a port of the host, be it from a container of ours that is just leaving it.
func (d *Driver) listen(ctx context.Context, proto string, addr netip.AddrPort) (*portmap.Socket, error) {
	name := proto + " " + addr.String()
	d.mu.Lock()
	socket := d.parked[name]
	delete(d.parked, name)
	d.mu.Unlock()
	if socket != nil {
		return socket, nil
	}
	socket, err := portmap.Listen(d.life, d.cfg.Host, proto, addr)
	switch {
	case err == nil:
		return socket, ctx.Err()
	case errors.Is(err, unix.EADDRINUSE):
		return nil, fmt.Errorf("%w: %s/%s, by %s", ErrPortTaken, addr, proto, d.holder(proto, addr))
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return nil, fmt.Errorf("publish port %s/%s: %s is no address of this host: %w", addr, proto, addr.Addr(), err)
	default:
		return nil, fmt.Errorf("publish port %s/%s: %w", addr, proto, err)
	}
}

// holder names the container of ours or the process that has a port.
func (d *Driver) holder(proto string, addr netip.AddrPort) string {
	d.mu.Lock()
	for id, c := range d.containers {
		for _, b := range c.bindings {
			if b.Proto == proto && b.HostPort == addr.Port() {
				d.mu.Unlock()
				return "container " + cmp.Or(c.name(), id)
			}
		}
	}
	d.mu.Unlock()
	return portmap.Holder(d.cfg.Host, proto, addr)
}

func (c *container) name() string {
	for _, e := range c.endpoints {
		if e.Name != "" {
			return e.Name
		}
	}
	return ""
}

// enforce enters new bindings, lets the keeper hold their sockets, and brings the rules into
// force. If that fails they are as if they never were.
func (d *Driver) enforce(ctx context.Context, containerID string, to *endpoint, made []*binding) error {
	if len(made) == 0 {
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
	err := cmp.Or(d.hairpin(to), d.keep(containerID, made))
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
	if err := d.forgetFlows(dropped, toContainer); err != nil {
		d.log.Error("unpublish ports", "error", err)
	}
}

// closePorts closes the sockets of all ports; those that the keeper has stay bound.
func (d *Driver) closePorts() {
	d.mu.Lock()
	var all []*binding
	for _, c := range d.containers {
		all = append(all, c.bindings...)
	}
	d.mu.Unlock()
	closeSockets(all)
}

// keep gives the keeper duplicates of the sockets.
func (d *Driver) keep(containerID string, bindings []*binding) error {
	if d.cfg.Keeper == nil || len(bindings) == 0 {
		return nil
	}
	files := map[string]*os.File{}
	defer func() {
		for _, f := range files {
			_ = f.Close()
		}
	}()
	for _, b := range bindings {
		f, err := b.socket.File()
		if err != nil {
			return err
		}
		files[b.socket.Name()] = f
	}
	return d.cfg.Keeper.Hold(SocketsID(containerID), files)
}

// keepOnly lets the keeper hold nothing of the container but the ports it still has.
func (d *Driver) keepOnly(containerID string, dropped []*binding) {
	if d.cfg.Keeper == nil || len(dropped) == 0 {
		return
	}
	d.mu.Lock()
	var rest []*binding
	if c := d.containers[containerID]; c != nil {
		rest = slices.Clone(c.bindings)
	}
	d.mu.Unlock()
	if err := errors.Join(d.cfg.Keeper.Release(SocketsID(containerID)), d.keep(containerID, rest)); err != nil {
		d.log.Error("give ports back", "container", containerID, "error", err)
	}
}

// restorePorts takes the ports that a live container has, with the keeper's sockets where
// there are any.
func (d *Driver) restorePorts(containerID string, bindings []PortBinding) error {
	held := map[string]*os.File{}
	var err error
	if d.cfg.Keeper != nil {
		if held, err = d.cfg.Keeper.Take(SocketsID(containerID)); err != nil {
			return err
		}
	}
	d.mu.Lock()
	c := d.containers[containerID]
	d.mu.Unlock()
	var errs []error
	for _, has := range bindings {
		b := &binding{PortBinding: has}
		addr := netip.AddrPortFrom(has.HostIP, has.HostPort)
		name := has.Proto + " " + addr.String()
		if f := held[name]; f != nil {
			delete(held, name)
			b.socket, err = portmap.FromFile(d.life, d.cfg.Host, f)
		} else {
			b.socket, err = d.listen(d.life, has.Proto, addr)
		}
		if err != nil || c == nil {
			errs = append(errs, fmt.Errorf("port %s: %w", name, cmp.Or(err, ErrNetworkNotFound)))
			continue
		}
		b.socket.Lead(b.target())
		d.mu.Lock()
		c.bindings = append(c.bindings, b)
		d.mu.Unlock()
	}
	for _, f := range held {
		_ = f.Close()
	}
	return errors.Join(errs...)
}

func closeSockets(bindings []*binding) {
	for _, b := range bindings {
		b.socket.Close()
	}
}

// noIPv6 tells the errors of a host without IPv6.
func noIPv6(err error) bool {
	return errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EADDRNOTAVAIL)
}
