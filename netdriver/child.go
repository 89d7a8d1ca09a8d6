package netdriver

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tutti/netdriver/netns"
)

func isNotExist(err error) bool { return errors.Is(err, os.ErrNotExist) }

var macvlanModes = map[string]netlink.MacvlanMode{
	"bridge": netlink.MACVLAN_MODE_BRIDGE, "private": netlink.MACVLAN_MODE_PRIVATE, "vepa": netlink.MACVLAN_MODE_VEPA, "passthru": netlink.MACVLAN_MODE_PASSTHRU,
}

var ipvlanModes = map[string]netlink.IPVlanMode{"l2": netlink.IPVLAN_MODE_L2, "l3": netlink.IPVLAN_MODE_L3, "l3s": netlink.IPVLAN_MODE_L3S}

var ipvlanFlags = map[string]netlink.IPVlanFlag{
	"": netlink.IPVLAN_FLAG_BRIDGE, "bridge": netlink.IPVLAN_FLAG_BRIDGE, "private": netlink.IPVLAN_FLAG_PRIVATE, "vepa": netlink.IPVLAN_FLAG_VEPA,
}

// addChild makes the link of an endpoint on the parent of its network, straight in the container's namespace. There it
// stays: the host sees nothing of it.
func (d *Driver) addChild(e *endpoint, parent int, ns *netns.NS) error {
	n := e.network
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.ParentIndex, attrs.Namespace, attrs.MTU = e.Interface, parent, netlink.NsFd(ns.FD()), n.MTU
	var link netlink.Link = &netlink.IPVlan{LinkAttrs: attrs, Mode: ipvlanModes[n.opt.mode], Flag: ipvlanFlags[n.opt.flag]}
	if n.Driver == driverMacvlan {
		if n.opt.mode != "passthru" { // which takes over the address of the parent
			attrs.HardwareAddr = e.MAC
		}
		link = &netlink.Macvlan{LinkAttrs: attrs, Mode: macvlanModes[n.opt.mode]}
	}
	err := d.route.LinkAdd(link)
	switch {
	case errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("this kernel has no %s: %w", n.Driver, err)
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("the parent %s has another use already: %w", n.Bridge, err)
	case errors.Is(err, unix.EINVAL) && n.opt.mode == "passthru":
		return fmt.Errorf("%w: passthru gives the parent %s to one container, and another has it", ErrNetworkFull, n.Bridge)
	}
	return err
}

// holdChild holds the namespace that the link of an endpoint is made in, to delete it there, and enters the hardware address
// that it will have if that is the parent's.
func (d *Driver) holdChild(e *endpoint, ns *netns.NS) error {
	held, err := netns.Open(ns.Path())
	if err != nil {
		return err
	}
	d.mu.Lock()
	e.ns = held
	d.mu.Unlock()
	if e.network.Driver == driverMacvlan && e.network.opt.mode != "passthru" {
		return nil
	}
	parent, err := d.route.LinkByName(e.network.Bridge)
	if err == nil {
		e.MAC = parent.Attrs().HardwareAddr
	}
	return nil //nolint:nilerr // without a parent the link cannot be made either, which says more
}

// awaitChild waits until a link of macvlan or ipvlan can be used. It has its carrier from the beginning if the parent has
// one. While that is down nobody outside is reached, and it is the administrator's to change.
func (d *Driver) awaitChild(ctx context.Context, e *endpoint, in *inside) error {
	parent, err := d.route.LinkByName(e.network.Bridge)
	if err != nil {
		return fmt.Errorf("look at parent %s: %w", e.network.Bridge, err)
	}
	if state := parent.Attrs().OperState; state != netlink.OperUp && state != netlink.OperUnknown {
		d.log.Warn("the parent of a network is down: its containers reach nobody outside", "network", e.network.Name, "parent", e.network.Bridge)
	}
	if !e.hasIPv6() {
		return nil
	}
	return in.awaitIPv6(ctx)
}

// childLink is a link that is in the namespace of a container alone.
type childLink struct {
	ns   *netns.NS // held for this
	name string
}

// delete deletes the link, if it is still there, and lets go of the namespace.
func (c childLink) delete() error {
	defer c.ns.Close()
	route, err := openHandle(c.ns)
	if err != nil {
		return err
	}
	defer route.Close()
	link, err := route.LinkByName(c.name)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil
	}
	if err == nil {
		err = route.LinkDel(link)
	}
	if err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("delete link %s of a container: %w", c.name, err)
	}
	return nil
}
