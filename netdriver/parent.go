package netdriver

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// chooseParent finds the interface that the links of macvlan and ipvlan are made on. One like eth0.10 that is missing is
// made as VLAN 10 of eth0; without any it is one of ours that leads nowhere, so that containers reach each other alone.
func (d *Driver) chooseParent(n *network, others []*network) error {
	n.Bridge = n.opt.parent
	if n.Bridge == "" {
		n.Bridge, n.Own = d.interfaceName(n.ID), true
		return nil
	}
	for _, other := range others {
		if other.Bridge != n.Bridge || other.Bridged() {
			continue
		}
		n.Own = n.Own || other.Own // whichever of them is the last removes it
		if err := sharedParent(n, other); err != nil {
			return err
		}
	}
	link, err := d.route.LinkByName(n.Bridge)
	if err == nil {
		n.Own = n.Own || link.Attrs().Alias == d.alias(n) // of an earlier attempt
		return checkMTU(n, link)
	}
	if !errors.As(err, new(netlink.LinkNotFoundError)) {
		return fmt.Errorf("look for parent %s: %w", n.Bridge, err)
	}
	n.Own = true
	parent, _, err := d.vlan(n.Bridge)
	if err != nil {
		return err
	}
	return checkMTU(n, parent)
}

// sharedParent tells why two networks cannot have one parent: the kernel gives it to one driver, and with passthru to one
// link.
func sharedParent(n, other *network) error {
	switch {
	case n.Driver != other.Driver:
		return badOption(optionParent, fmt.Sprintf("%s is the parent of the %s network %s: it cannot be that of %s too", n.Bridge, other.Driver, other.Name, n.Driver))
	case n.opt.mode == "passthru" || other.opt.mode == "passthru":
		return badOption(optionParent, fmt.Sprintf("%s is the parent of network %s, and passthru needs one for itself", n.Bridge, other.Name))
	case n.Driver == driverIPvlan && (n.opt.mode != other.opt.mode || n.opt.flag != other.opt.flag):
		return badOption(optionIPvlan, fmt.Sprintf("network %s has the parent %s in another mode, and there is one mode for a parent", other.Name, n.Bridge))
	}
	return nil
}

func checkMTU(n *network, parent netlink.Link) error {
	if most := parent.Attrs().MTU; n.MTU > most {
		return badOption(optionMTU, fmt.Sprintf("%d is more than that of the parent %s, %d", n.MTU, parent.Attrs().Name, most))
	}
	return nil
}

// vlan reads the name of a VLAN's interface, eth0.10, and finds the one that it is on.
func (d *Driver) vlan(name string) (on netlink.Link, id int, err error) {
	dot := strings.LastIndexByte(name, '.')
	if dot <= 0 {
		return nil, 0, badOption(optionParent, fmt.Sprintf("the host has no interface %s", name))
	}
	if id, err = strconv.Atoi(name[dot+1:]); err != nil || id < 1 || id > 4094 {
		return nil, 0, badOption(optionParent, fmt.Sprintf("the host has no interface %s, and it is no name for a VLAN, as eth0.10 is with a number from 1 to 4094", name))
	}
	on, err = d.route.LinkByName(name[:dot])
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil, 0, badOption(optionParent, fmt.Sprintf("the host has no interface %s, and no %s to make that VLAN of", name, name[:dot]))
	}
	return on, id, err
}

// makeParent makes the parent if it is to be ours, or finds it.
func (d *Driver) makeParent(n *network) error {
	if n.Own {
		link, err := d.ownParent(n)
		if err != nil {
			return err
		}
		if err := d.route.LinkAdd(link); err != nil && !errors.Is(err, unix.EEXIST) {
			if errors.Is(err, unix.EOPNOTSUPP) {
				err = fmt.Errorf("this kernel has no interfaces of type %s: %w", link.Type(), err)
			}
			return fmt.Errorf("create interface %s: %w", n.Bridge, err)
		}
	}
	link, err := d.route.LinkByName(n.Bridge)
	if err != nil {
		return fmt.Errorf("find parent %s: %w", n.Bridge, err)
	}
	n.index.Store(int32(link.Attrs().Index))
	if !n.Own {
		return nil
	}
	if n.opt.parent != "" && link.Attrs().Alias == "" {
		if err := d.route.LinkSetAlias(link, d.alias(n)); err != nil {
			return fmt.Errorf("mark interface %s: %w", n.Bridge, err)
		}
	}
	// It has no addresses of its own, and the kernel shall give it none.
	err = d.cfg.Host.Do(func() error { return setSysctl(disableIPv6Of(n.Bridge), "1") })
	if noFile := err; noFile != nil && !isNotExist(noFile) {
		return fmt.Errorf("configure interface %s: %w", n.Bridge, err)
	}
	if err := d.route.LinkSetUp(link); err != nil {
		return fmt.Errorf("start interface %s: %w", n.Bridge, err)
	}
	return nil
}

// ownParent is the interface to be made: of type dummy, or a VLAN.
func (d *Driver) ownParent(n *network) (netlink.Link, error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.Flags = n.Bridge, net.FlagUp
	if n.opt.parent == "" {
		attrs.MTU = n.MTU
		return &netlink.Dummy{LinkAttrs: attrs}, nil
	}
	on, id, err := d.vlan(n.Bridge)
	if err != nil {
		return nil, err
	}
	attrs.ParentIndex = on.Attrs().Index
	return &netlink.Vlan{LinkAttrs: attrs, VlanId: id, VlanProtocol: netlink.VLAN_PROTOCOL_8021Q}, nil
}
