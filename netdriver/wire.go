package netdriver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"tutti/netdriver/netns"
)

// loopbackIndex is the index of lo in every namespace (LOOPBACK_IFINDEX in the kernel).
const loopbackIndex = 1

// skipStats is RTEXT_FILTER_SKIP_STATS of linux/rtnetlink.h.
const skipStats = 1 << 3

// carrierTimeout is far longer than a link ever takes.
const carrierTimeout = 5 * time.Second

// inside is rtnetlink in the namespace of a container.
type inside struct {
	ns     *netns.NS
	route  *netlink.Handle
	socket *nl.SocketHandle // the same, for messages of our own
}

// enter opens rtnetlink in a container's namespace and starts its loopback interface.
func enter(ns *netns.NS) (*inside, error) {
	route, socket, err := openRoute(ns)
	if err != nil {
		return nil, err
	}
	in := &inside{ns, route, socket}
	if err := route.LinkSetUp(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: loopbackIndex}}); err != nil {
		in.close()
		return nil, fmt.Errorf("start the loopback interface: %w", err)
	}
	return in, nil
}

func (in *inside) close() {
	in.route.Close()
	in.socket.Close()
}

// index returns the index of an interface. The old request of netdevice(7) costs a tenth of
// asking rtnetlink, which tells everything about the link.
func (in *inside) index(name string) (int, error) {
	req, err := unix.NewIfreq(name)
	if err != nil {
		return 0, err
	}
	err = unix.IoctlIfreq(in.socket.Socket.GetFd(), unix.SIOCGIFINDEX, req)
	return int(req.Uint32()), err
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
	ctx, cancel := context.WithTimeout(ctx, carrierTimeout)
	defer cancel()
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

// awaitIPv6 waits until the kernel has accepted the IPv6 addresses, which it does by the
// work queue of duplicate address detection even if there is none.
func (in *inside) awaitIPv6(ctx context.Context) error {
	for {
		addrs, err := in.route.AddrList(nil, netlink.FAMILY_V6)
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

// awaitCarrier waits until all parts of the kernel know that a link has its carrier. Kernels
// from 6.8 on see to that when they are asked for the link (linkwatch_sync_dev in
// rtnl_getlink), so that once is enough.
func awaitCarrier(ctx context.Context, socket *nl.SocketHandle, name string) error {
	for {
		up, err := isUp(socket, name)
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

// isUp asks for the operational state of a link and nothing else, which takes a third of
// the time that a whole [netlink.Link] does.
func isUp(socket *nl.SocketHandle, name string) (bool, error) {
	req := nl.NewNetlinkRequest(unix.RTM_GETLINK, 0)
	req.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: socket}
	req.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	req.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
	req.AddData(nl.NewRtAttr(unix.IFLA_EXT_MASK, nl.Uint32Attr(skipStats)))
	links, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK)
	if err != nil {
		return false, err
	}
	for _, link := range links {
		attrs, err := nl.ParseRouteAttr(link[unix.SizeofIfInfomsg:])
		if err != nil {
			return false, err
		}
		for _, a := range attrs {
			if a.Attr.Type == unix.IFLA_OPERSTATE && len(a.Value) == 1 {
				return netlink.LinkOperState(a.Value[0]) == netlink.OperUp, nil
			}
		}
	}
	return false, nil
}

// configure gives the container's end of a link its addresses, starts it, and sets the
// default route if it leads there.
func (in *inside) configure(e *endpoint) error {
	index, err := in.index(e.Interface)
	if err != nil {
		return fmt.Errorf("find %s in the container: %w", e.Interface, err)
	}
	link := &netlink.Device{LinkAttrs: netlink.LinkAttrs{Name: e.Interface, Index: index}}
	if err := in.tune(e); err != nil {
		return err
	}
	for _, p := range append([]netip.Prefix{e.IPv4, e.IPv6}, e.LinkLocal...) {
		if !p.IsValid() {
			continue
		}
		addr := &netlink.Addr{IPNet: ipNet(p)}
		if p.Addr().Is6() {
			addr.Flags = unix.IFA_F_NODAD // given out once, by us
		}
		if err := in.route.AddrAdd(link, addr); err != nil {
			return fmt.Errorf("set address %s: %w", p, err)
		}
	}
	if err := in.route.LinkSetUp(link); err != nil {
		return fmt.Errorf("start %s: %w", e.Interface, err)
	}
	for _, four := range []bool{true, false} {
		route := e.defaultRoute(four, index)
		if route == nil {
			continue
		}
		if err := in.route.RouteAdd(route); err != nil {
			return fmt.Errorf("set default route by %s: %w", e.Interface, err)
		}
	}
	return nil
}
