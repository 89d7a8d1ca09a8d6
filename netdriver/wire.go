package netdriver

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tutti/netdriver/netns"
)

// loopbackIndex is the index of lo in every namespace (LOOPBACK_IFINDEX in the kernel).
const loopbackIndex = 1

// maxPorts is what a Linux bridge connects: BR_MAX_PORTS is 1024, and the kernel does not
// use port 0.
const maxPorts = 1023

// inside is rtnetlink in the namespace of a container.
type inside struct {
	ns    *netns.NS
	route *netlink.Handle
}

// enter opens rtnetlink in a container's namespace and starts its loopback interface.
func enter(ns *netns.NS) (*inside, error) {
	route, err := openRoute(ns)
	if err != nil {
		return nil, err
	}
	in := &inside{ns, route}
	lo := &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: loopbackIndex}}
	if err := route.LinkSetUp(lo); err != nil {
		in.close()
		return nil, fmt.Errorf("start the loopback interface: %w", err)
	}
	return in, nil
}

func (in *inside) close() { in.route.Close() }

// wire makes the link of an endpoint: a veth pair with one end in the bridge and the other
// straight in the container's namespace, where it gets its addresses and routes.
func (d *Driver) wire(e *endpoint, in *inside) error {
	if e.IPv6.IsValid() {
		if err := in.ns.EnableIPv6(); err != nil {
			return err
		}
	}
	d.wiring.Lock()
	defer d.wiring.Unlock()
	if err := d.ensureBridge(e.network); err != nil {
		return err
	}
	if err := d.addVeth(e, in.ns); err != nil {
		return fmt.Errorf("create link %s: %w", e.HostInterface, err)
	}
	return in.configure(e)
}

func (d *Driver) addVeth(e *endpoint, ns *netns.NS) error {
	bridge, err := d.route.LinkByName(e.network.Bridge)
	if err != nil {
		return err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MasterIndex, attrs.MTU = e.HostInterface, bridge.Attrs().Index, e.network.MTU
	attrs.Flags, attrs.NumTxQueues, attrs.NumRxQueues = net.FlagUp, 1, 1
	err = d.route.LinkAdd(&netlink.Veth{
		LinkAttrs: attrs, PeerName: e.Interface, PeerHardwareAddr: e.MAC, PeerTxQLen: -1,
		PeerNamespace: netlink.NsFd(ns.FD()),
	})
	if errors.Is(err, unix.EXFULL) {
		return fmt.Errorf("%w: a Linux bridge connects %d containers at most; use a second network", ErrNetworkFull, maxPorts)
	}
	return err
}

// configure gives the container's end of a link its addresses, starts it, and sets the
// default route if it leads there.
func (in *inside) configure(e *endpoint) error {
	link, err := in.route.LinkByName(e.Interface)
	if err != nil {
		return fmt.Errorf("find %s in the container: %w", e.Interface, err)
	}
	for _, p := range []netip.Prefix{e.IPv4, e.IPv6} {
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
	for _, gateway := range []netip.Addr{e.Gateway, e.Gateway6} {
		if !e.DefaultRoute || !gateway.IsValid() {
			continue
		}
		err := in.route.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: gateway.AsSlice()})
		if err != nil {
			return fmt.Errorf("set default route by %s: %w", gateway, err)
		}
	}
	return nil
}
