package netdriver

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"tutti/netdriver/portmap"
)

// ephemeralTries is how often a free port is looked for that is free in both families.
const ephemeralTries = 32

// addresses returns the addresses of the host to bind.
func (s PortSpec) addresses() []netip.Addr {
	if !s.HostIP.IsValid() {
		return []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
	}
	return []netip.Addr{s.HostIP.Unmap()}
}

// open takes a port of the host for each address of the specification.
func (d *Driver) open(s PortSpec, to *endpoint) ([]*binding, error) {
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
		if bindings, err = d.openPort(s, port, to, s.addresses()); err == nil {
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

// openRest takes what of a specification those bindings do not fulfil that there are.
func (d *Driver) openRest(s PortSpec, there []*binding, to *endpoint) ([]*binding, error) {
	if len(there) == 0 {
		return d.open(s, to)
	}
	rest := slices.DeleteFunc(s.addresses(), func(a netip.Addr) bool {
		return slices.ContainsFunc(there, func(b *binding) bool { return b.HostIP == a })
	})
	return d.openPort(s, there[0].HostPort, to, rest)
}

// openPort takes one port, with all of some addresses or with none.
func (d *Driver) openPort(s PortSpec, port uint16, to *endpoint, addresses []netip.Addr) ([]*binding, error) {
	var made []*binding
	for _, addr := range addresses {
		socket, err := d.listen(s.Proto, netip.AddrPortFrom(addr, port))
		if !s.HostIP.IsValid() && addr.Is6() && noIPv6(err) {
			continue
		}
		if err != nil {
			closeSockets(made)
			return nil, err
		}
		port = socket.Addr().Port()
		b := &binding{socket: socket, PortBinding: PortBinding{
			Proto: s.Proto, HostIP: addr, HostPort: port, ContainerIP: to.address(addr), ContainerPort: s.ContainerPort, Input: s.Input,
		}}
		made = append(made, b)
	}
	return made, nil
}

// listen takes a port of the host, be it from a container of ours that is just leaving it.
func (d *Driver) listen(proto string, addr netip.AddrPort) (*portmap.Socket, error) {
	if socket := d.unpark(proto + " " + addr.String()); socket != nil {
		if err := socket.Pass(); err != nil {
			socket.Close()
			return nil, fmt.Errorf("take over port %s/%s: %w", addr, proto, err)
		}
		return socket, nil
	}
	socket, err := portmap.Listen(d.cfg.Host, d.relay, proto, addr)
	if errors.Is(err, unix.EADDRINUSE) {
		socket, err = d.listenAgain(proto, addr)
	}
	switch {
	case err == nil:
		return socket, nil
	case errors.Is(err, ErrPortTaken):
		return nil, err
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return nil, fmt.Errorf("publish port %s/%s: %s is no address of this host: %w", addr, proto, addr.Addr(), err)
	default:
		return nil, fmt.Errorf("publish port %s/%s: %w", addr, proto, err)
	}
}

// unpark returns the socket of a port that is being unpublished, which stays bound then.
func (d *Driver) unpark(name string) *portmap.Socket {
	d.mu.Lock()
	defer d.mu.Unlock()
	socket := d.parked[name]
	delete(d.parked, name)
	return socket
}

// evict sees to it that the sockets of a port that is being unpublished are closed, whatever their addresses, also by the keeper.
// The rules that lead by it go with the change that brings the new one's.
func (d *Driver) evict(proto string, port uint16) error {
	d.mu.Lock()
	var ended []*portmap.Socket
	for name, s := range d.parked {
		if s.Proto() == proto && s.Addr().Port() == port {
			delete(d.parked, name)
			ended = append(ended, s)
		}
	}
	var others []chan struct{}
	for s, closed := range d.closing {
		if s.Proto() == proto && s.Addr().Port() == port {
			others = append(others, closed)
		}
	}
	d.mu.Unlock()
	for _, s := range ended {
		s.Close()
	}
	for _, closed := range others {
		<-closed
	}
	if d.cfg.Keeper == nil {
		return nil
	}
	return d.cfg.Keeper.Sync()
}

// forkWithin is how long a child may take between its fork and its program's first instruction, on a machine that is busy: as
// long it has copies of all sockets, also of those that were closed meanwhile, and their ports stay bound.
const forkWithin = time.Second

// listenAgain takes a port that is taken: by sockets of ours that are to go, which it closes, or by copies of them, whose end
// it waits for. Where it can be seen that somebody else has the port it does not wait.
func (d *Driver) listenAgain(proto string, addr netip.AddrPort) (*portmap.Socket, error) {
	for deadline := time.Now().Add(forkWithin); ; time.Sleep(time.Millisecond) {
		if err := d.evict(proto, addr.Port()); err != nil {
			return nil, err
		}
		socket, err := portmap.Listen(d.cfg.Host, d.relay, proto, addr)
		if !errors.Is(err, unix.EADDRINUSE) {
			return socket, err
		}
		who, other := d.holder(proto, addr)
		if other || time.Now().After(deadline) {
			return nil, fmt.Errorf("%w: %s/%s, by %s", ErrPortTaken, addr, proto, who)
		}
	}
}

// holder names the container of ours or the process that has a port, and says whether it is somebody else for certain.
func (d *Driver) holder(proto string, addr netip.AddrPort) (who string, other bool) {
	d.mu.Lock()
	for id, c := range d.containers {
		for _, b := range c.bindings {
			if b.Proto == proto && b.HostPort == addr.Port() {
				d.mu.Unlock()
				return "container " + cmp.Or(c.name(), id), true
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

// noIPv6 tells the errors of a host without IPv6.
func noIPv6(err error) bool {
	return errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EADDRNOTAVAIL)
}
