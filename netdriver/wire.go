package netdriver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tutti/netdriver/netns"
	"tutti/netdriver/rtnl"
)

// inside is rtnetlink in the namespace of a container.
type inside struct {
	ns     *netns.NS
	inode  uint64 // of the namespace
	socket *rtnl.Socket
	route  *netlink.Handle // opened by the first who needs it, see handle
}

// enter opens rtnetlink in a container's namespace and starts its loopback interface.
func (d *Driver) enter(ns *netns.NS) (*inside, error) {
	socket, err := rtnl.Open(ns)
	if err != nil {
		return nil, err
	}
	inode, err := ns.Inode()
	if err != nil {
		socket.Close()
		return nil, err
	}
	d.wiring.Lock()
	defer d.wiring.Unlock()
	if err := socket.SetUp("lo"); err != nil {
		socket.Close()
		return nil, fmt.Errorf("start the loopback interface: %w", err)
	}
	return &inside{ns: ns, inode: inode, socket: socket}, nil
}

func (in *inside) close() {
	in.socket.Close()
	if in.route != nil {
		in.route.Close()
	}
}

// handle is rtnetlink for package netlink.
func (in *inside) handle() (*netlink.Handle, error) {
	if in.route != nil {
		return in.route, nil
	}
	var err error
	in.route, err = openHandle(in.ns)
	return in.route, err
}

// wire makes the link of an endpoint: a veth pair with one end in the bridge and the other
// straight in the container's namespace, where it gets its addresses and routes.
func (d *Driver) wire(e *endpoint, in *inside) error {
	if e.hasIPv6() {
		if err := in.ns.EnableIPv6(); err != nil {
			return err
		}
	}
	d.wiring.Lock()
	defer d.wiring.Unlock()
	add := d.addVeth
	if !e.network.Bridged() {
		add = d.addChild
		if err := d.holdChild(e, in.ns); err != nil {
			return err
		}
	}
	d.mu.Lock()
	e.link = link{at: in.inode, host: e.HostInterface, name: e.Interface}
	d.mu.Unlock()
	index := int(e.network.index.Load())
	var err error = unix.EINVAL // what the kernel says of a bridge that is not there
	if index != 0 {
		err = add(e, index, in.ns)
	}
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENODEV) { // never made, or deleted by somebody
		if err = d.ensureInterface(e.network); err == nil {
			err = add(e, int(e.network.index.Load()), in.ns)
		}
	}
	if err != nil {
		return fmt.Errorf("create link %s: %w", cmp.Or(e.HostInterface, e.Interface), err)
	}
	if e.hasIPv6() { // an interface without IPv6 may come next
		if err := in.ns.DisableIPv6(); err != nil {
			return err
		}
	}
	if err := d.isolate(e); err != nil {
		return err
	}
	return in.configure(e)
}

// isolate keeps a container of a network without communication between its containers from sending to others through the
// bridge. The rules do the same for what comes by the host.
func (d *Driver) isolate(e *endpoint) error {
	if !e.network.Bridged() || e.network.opt.icc {
		return nil
	}
	link, err := d.route.LinkByName(e.HostInterface)
	if err == nil {
		err = d.route.LinkSetIsolated(link, true)
	}
	if err != nil {
		return fmt.Errorf("isolate %s from the other links of its bridge: %w", e.HostInterface, err)
	}
	return nil
}

// await waits until an endpoint can be used. Both ends are up by then, but the kernel tells
// others of it in its own time: the bridge, which forwards nothing before; whoever sends
// through the bridge, if this is its first port; and the container's IPv6. What is sent
// before is lost, an ARP request for instance, and sent again a second later.
func (d *Driver) await(ctx context.Context, e *endpoint, in *inside) error {
	if !e.network.Bridged() {
		return d.awaitChild(ctx, e, in)
	}
	if err := awaitCarrier(ctx, d.socket, e.HostInterface); err != nil {
		return err
	}
	// A bridge that the user has made may never have been without carrier, and then the kernel says nothing of it.
	if e.network.Own {
		if err := awaitCarrier(ctx, d.socket, e.network.Bridge); err != nil {
			return err
		}
	}
	if !e.hasIPv6() {
		return nil
	}
	if err := awaitCarrier(ctx, in.socket, e.Interface); err != nil {
		return err
	}
	return in.awaitIPv6(ctx)
}

// carrierTimeout is far longer than a link ever takes.
const carrierTimeout = 5 * time.Second

// awaitCarrier waits until all parts of the kernel know that a link has its carrier.
func awaitCarrier(ctx context.Context, socket *rtnl.Socket, name string) error {
	if up, err := socket.IsUp(name); up && err == nil {
		return nil // as ever with newer kernels
	}
	ctx, cancel := context.WithTimeout(ctx, carrierTimeout)
	defer cancel()
	for {
		up, err := socket.IsUp(name)
		if up {
			return nil
		}
		if err == nil {
			err = pause(ctx)
		}
		if err != nil {
			return fmt.Errorf("wait for link %s to come up: %w", name, err)
		}
	}
}

// awaitIPv6 waits until the kernel has accepted the IPv6 addresses, which it does by the
// work queue of duplicate address detection even if there is none.
func (in *inside) awaitIPv6(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, carrierTimeout)
	defer cancel()
	route, err := in.handle()
	if err != nil {
		return err
	}
	for {
		addrs, err := route.AddrList(nil, netlink.FAMILY_V6)
		if err != nil {
			return fmt.Errorf("list addresses in the container: %w", err)
		}
		if !slices.ContainsFunc(addrs, func(a netlink.Addr) bool { return a.Flags&unix.IFA_F_TENTATIVE != 0 }) {
			return nil
		}
		if err := pause(ctx); err != nil {
			return fmt.Errorf("IPv6 addresses %v do not come up: %w", addrs, err)
		}
	}
}

// pause waits a moment for something the kernel gives no sign of.
func pause(ctx context.Context) error {
	select {
	case <-time.After(time.Millisecond):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
