package netdriver

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tutti/netdriver/portmap"
)

// chooseBridge names the bridge: ours, or the one that the user names, who may have made it already.
func (d *Driver) chooseBridge(n *network, others []*network) error {
	n.Bridge, n.Own = n.opt.bridge, true
	if n.Bridge == "" {
		n.Bridge = d.interfaceName(n.ID)
	}
	for _, other := range others {
		if other.Bridge == n.Bridge {
			if n.opt.bridge != "" {
				return badOption(optionBridge, fmt.Sprintf("network %s has the bridge %s", other.Name, n.Bridge))
			}
			return fmt.Errorf("%w: id %s begins like that of network %s", ErrInvalid, n.ID, other.Name)
		}
	}
	if n.opt.bridge == "" {
		return nil
	}
	link, err := d.route.LinkByName(n.Bridge)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for bridge %s: %w", n.Bridge, err)
	}
	has := hostLink{link.Attrs().Name, link.Attrs().Alias, link.Type() == "bridge"}
	switch {
	case !has.bridge:
		return badOption(optionBridge, fmt.Sprintf("the host has an interface %s already, and it is no bridge but of type %s", n.Bridge, link.Type()))
	case has.alias == d.alias(n): // of an earlier attempt
	case has.isOf(""):
		return badOption(optionBridge, fmt.Sprintf("%s is the bridge of another network", n.Bridge))
	default:
		n.Own = false
	}
	return nil
}

// makeBridge creates the bridge of a network with its addresses, or gives them to the one that the user has made. What is
// there of an earlier attempt is completed.
//
// It does not watch who joins which multicast group: that has no effect unless a router asks for the members, and the kernel
// prepares it anew on all ports of the bridge for each link that comes or goes.
func (d *Driver) makeBridge(n *network) error {
	if n.Own {
		bridge := &netlink.Bridge{LinkAttrs: netlink.NewLinkAttrs(), MulticastSnooping: new(bool)}
		bridge.Name, bridge.MTU, bridge.Flags = n.Bridge, n.MTU, net.FlagUp
		bridge.HardwareAddr = macOf(n.Gateway(true)) // a bridge without one takes that of a port, which may go
		if len(bridge.HardwareAddr) != 6 {
			bridge.HardwareAddr = macFrom(n.ID)
		}
		if err := d.route.LinkAdd(bridge); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("create bridge %s: %w", n.Bridge, err)
		}
	}
	return d.configureBridge(n)
}

func (d *Driver) configureBridge(n *network) error {
	if err := d.setBridgeSysctls(n); err != nil {
		return fmt.Errorf("configure bridge %s: %w", n.Bridge, err)
	}
	link, err := d.route.LinkByName(n.Bridge)
	if err != nil {
		return fmt.Errorf("find bridge %s: %w", n.Bridge, err)
	}
	n.index.Store(int32(link.Attrs().Index))
	if n.Own && n.opt.bridge != "" {
		if err := d.route.LinkSetAlias(link, d.alias(n)); err != nil {
			return fmt.Errorf("mark bridge %s: %w", n.Bridge, err)
		}
	}
	for _, p := range n.bridgeAddresses() {
		addr := &netlink.Addr{IPNet: ipNet(p)}
		if p.Addr().Is6() {
			addr.Flags = unix.IFA_F_NODAD // nobody else can have it
		}
		if err := d.route.AddrAdd(link, addr); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("give bridge %s the address %s: %w", n.Bridge, addr.IPNet, err)
		}
	}
	if err := d.route.LinkSetUp(link); err != nil {
		return fmt.Errorf("start bridge %s: %w", n.Bridge, err)
	}
	return nil
}

// bridgeAddresses are the gateways, unless the user wants the bridge without.
func (n *network) bridgeAddresses() []netip.Prefix {
	var all []netip.Prefix
	for _, p := range n.Pools {
		four := p.Subnet.Addr().Is4()
		if p.Gateway.IsValid() && n.opt.gatewayMode(four) != portmap.Isolated && (!four || !n.opt.inhibit4) {
			all = append(all, netip.PrefixFrom(p.Gateway, p.Subnet.Bits()))
		}
	}
	return all
}

// setBridgeSysctls makes the settings of the bridge. Those of somebody else's are entered in the ledger, which has them put
// back.
func (d *Driver) setBridgeSysctls(n *network) error {
	// route_localnet lets connections to 127.0.0.1 that are redirected leave through the bridge, and
	// their answers come back. Containers gain nothing by it: see package portmap.
	if !n.Own {
		return d.adoptBridge(n)
	}
	return d.cfg.Host.Do(func() error {
		if err := setSysctl(localnetOf(n.Bridge), "1"); err != nil {
			return err
		}
		err := setSysctl(disableIPv6Of(n.Bridge), map[bool]string{true: "0", false: "1"}[n.EnableIPv6])
		if errors.Is(err, os.ErrNotExist) && !n.EnableIPv6 {
			return nil // a kernel without IPv6
		}
		return err
	})
}

func localnetOf(bridge string) string    { return "ipv4/conf/" + bridge + "/route_localnet" }
func disableIPv6Of(bridge string) string { return "ipv6/conf/" + bridge + "/disable_ipv6" }

// adoptBridge prepares a bridge that the user has made. What it has is left alone, but for what the network needs. The
// host's lock is held.
func (d *Driver) adoptBridge(n *network) error {
	l, err := d.host.read()
	if err != nil {
		return err
	}
	if err := d.survey(l); err != nil {
		return err
	}
	if l.Adopted == nil {
		l.Adopted = map[string]adoption{}
	}
	if _, known := l.Adopted[n.Bridge]; !known {
		link, err := d.route.LinkByName(n.Bridge)
		if err != nil {
			return err
		}
		addrs, err := again(func() ([]netlink.Addr, error) { return d.route.AddrList(link, netlink.FAMILY_ALL) })
		if err != nil {
			return err
		}
		found := adoption{Instance: d.cfg.Instance, Down: link.Attrs().Flags&net.FlagUp == 0}
		for _, a := range addrs {
			if p, ok := prefixOf(a.IPNet); ok {
				found.Addresses = append(found.Addresses, p)
			}
		}
		// A bridge that nobody has given an address takes that of its first port, and with the last loses it.
		if err := d.route.LinkSetHardwareAddr(link, link.Attrs().HardwareAddr); err != nil {
			return err
		}
		l.Adopted[n.Bridge] = found
		if err := d.host.write(l); err != nil {
			return err
		}
	}
	if err := d.host.set(l, localnetOf(n.Bridge), "1"); err != nil || !n.EnableIPv6 {
		return err
	}
	return d.host.set(l, disableIPv6Of(n.Bridge), "0")
}

// leaveBridge gives a bridge back to the user who has made it, as it was found. The host's lock is held.
func (d *Driver) leaveBridge(n *network) error {
	l, err := d.host.read()
	if err != nil {
		return err
	}
	found := l.Adopted[n.Bridge]
	link, err := d.route.LinkByName(n.Bridge)
	if err == nil {
		for _, p := range n.bridgeAddresses() {
			if slices.Contains(found.Addresses, p) {
				continue
			}
			if failure := d.route.AddrDel(link, &netlink.Addr{IPNet: ipNet(p)}); failure != nil && !errors.Is(failure, unix.EADDRNOTAVAIL) {
				err = fmt.Errorf("take address %s from bridge %s: %w", p, n.Bridge, failure)
			}
		}
		if found.Down {
			err = errors.Join(err, d.route.LinkSetDown(link))
		}
	} else if errors.As(err, new(netlink.LinkNotFoundError)) {
		err = nil
	}
	delete(l.Adopted, n.Bridge)
	err = errors.Join(err, d.host.setBack(l, localnetOf(n.Bridge), disableIPv6Of(n.Bridge)))
	return errors.Join(err, d.host.write(l))
}

// deleteLink deletes a link; one that is not there is no error. It takes tens of milliseconds.
func (d *Driver) deleteLink(name string) error {
	link, err := d.route.LinkByName(name)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil
	}
	if err == nil {
		err = d.route.LinkDel(link)
	}
	if err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("delete link %s: %w", name, err)
	}
	return nil
}

// macOf returns the hardware address that belongs to an IPv4 address, as Docker forms it.
func macOf(a netip.Addr) net.HardwareAddr {
	return append(net.HardwareAddr{0x02, 0x42}, a.AsSlice()...)
}

// macFrom returns a hardware address for what has no IPv4 address: always the same for one name.
func macFrom(name string) net.HardwareAddr {
	sum := sha256.Sum256([]byte(name))
	return append(net.HardwareAddr{0x02, 0x42}, sum[:4]...)
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func prefixOf(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	a, ok := netip.AddrFromSlice(n.IP)
	bits, _ := n.Mask.Size()
	if a.Is4In6() && bits <= 32 {
		a = a.Unmap()
	}
	return netip.PrefixFrom(a, bits), ok
}
