package netdriver

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// makeBridge creates the bridge of a network with its addresses. What is there of an
// earlier attempt is completed.
func (d *Driver) makeBridge(n *network) error {
	bridge := &netlink.Bridge{LinkAttrs: netlink.NewLinkAttrs()}
	bridge.Name, bridge.MTU, bridge.Flags = n.Bridge, n.MTU, net.FlagUp
	bridge.HardwareAddr = macOf(n.Gateway) // a bridge without one takes that of a port, which may go
	if err := d.route.LinkAdd(bridge); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("create bridge %s: %w", n.Bridge, err)
	}
	if err := d.configureBridge(n); err != nil {
		return errors.Join(err, d.deleteLink(n.Bridge))
	}
	return nil
}

func (d *Driver) configureBridge(n *network) error {
	err := d.cfg.Host.Do(func() error {
		// Lets connections to 127.0.0.1 that are redirected leave through the bridge, and
		// their answers come back. Containers gain nothing by it: see package portmap.
		if err := setSysctl("ipv4/conf/"+n.Bridge+"/route_localnet", "1"); err != nil {
			return err
		}
		err := setSysctl("ipv6/conf/"+n.Bridge+"/disable_ipv6", map[bool]string{true: "0", false: "1"}[n.EnableIPv6])
		if errors.Is(err, os.ErrNotExist) && !n.EnableIPv6 {
			return nil // a kernel without IPv6
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("configure bridge %s: %w", n.Bridge, err)
	}
	link, err := d.route.LinkByName(n.Bridge)
	if err != nil {
		return fmt.Errorf("find bridge %s: %w", n.Bridge, err)
	}
	n.index.Store(int32(link.Attrs().Index))
	for _, p := range n.pools {
		addr := &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(p.Gateway(), p.Subnet().Bits()))}
		if p.Gateway().Is6() {
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

// ensureBridge makes the bridge again if it is missing, after a reboot for instance.
func (d *Driver) ensureBridge(n *network) error {
	link, err := d.route.LinkByName(n.Bridge)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return d.makeBridge(n)
	}
	if err == nil {
		n.index.Store(int32(link.Attrs().Index))
	}
	return err
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
