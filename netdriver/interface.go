package netdriver

import (
	"errors"
	"fmt"
	"strings"

	"github.com/vishvananda/netlink"
)

// makeInterface makes the interface of a network on the host.
func (d *Driver) makeInterface(n *network) error {
	if n.Bridged() {
		return d.makeBridge(n)
	}
	return d.makeParent(n)
}

// ensureInterface makes it again if it is missing, after a reboot for instance, and looks for the one that the user has made
// when that has not been done in the life of the driver.
func (d *Driver) ensureInterface(n *network) error {
	link, err := d.route.LinkByName(n.Bridge)
	if missing := errors.As(err, new(netlink.LinkNotFoundError)); missing || err == nil && !n.Own && n.index.Load() == 0 {
		unlock, err := d.host.lock()
		if err != nil {
			return err
		}
		defer unlock()
		return d.makeInterface(n)
	}
	if err == nil {
		n.index.Store(int32(link.Attrs().Index))
	}
	return err
}

// undoInterface removes it at once, after a failure. The host's lock is held.
func (d *Driver) undoInterface(n *network) error {
	if d.deletable(n) {
		return d.deleteLink(n.Bridge)
	}
	return d.leaveInterface(n)
}

// deletable tells whether the interface goes with the network: it is ours, and no other network needs it.
func (d *Driver) deletable(n *network) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, other := range d.networks {
		if other != n && other.Bridge == n.Bridge && other.gone == nil {
			return false
		}
	}
	return n.Own
}

// leaveInterface takes from an interface that is somebody else's what it has for the network. The host's lock is held.
func (d *Driver) leaveInterface(n *network) error {
	if n.Own || !n.Bridged() {
		return nil
	}
	return d.leaveBridge(n)
}

// giveBack is leaveInterface without the lock.
func (d *Driver) giveBack(n *network) error {
	unlock, err := d.host.lock()
	if err != nil {
		return err
	}
	defer unlock()
	return d.leaveInterface(n)
}

// alias marks an interface that the user has named as one of ours.
func (d *Driver) alias(n *network) string {
	return aliasPrefix + d.cfg.Instance + " " + n.ID[:8]
}

// aliasPrefix begins the alias of every interface of any engine that has not one of our names.
const aliasPrefix = "tutti "

// hostLink is what matters of a link of the host.
type hostLink struct {
	name   string
	alias  string
	bridge bool
}

// isOf tells whether an engine of that instance has made the link; "" is any instance.
func (l hostLink) isOf(instance string) bool {
	if strings.HasPrefix(l.alias, aliasPrefix+instance) {
		return true
	}
	if instance == "" {
		return bridgePattern.MatchString(l.name)
	}
	return strings.HasPrefix(l.name, "tt"+instance) || strings.HasPrefix(l.name, "tv"+instance)
}

// links returns the links of the host.
func (d *Driver) links() ([]hostLink, error) {
	all, err := again(d.route.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	var links []hostLink
	for _, l := range all {
		links = append(links, hostLink{l.Attrs().Name, l.Attrs().Alias, l.Type() == "bridge"})
	}
	return links, nil
}

// foreignBridges returns the names of the bridges that no engine of tutti has made.
func foreignBridges(links []hostLink) []string {
	var names []string
	for _, l := range links {
		if l.bridge && !l.isOf("") {
			names = append(names, l.name)
		}
	}
	return names
}
