package netcheck

import (
	"cmp"

	"tutti/netdriver"
	"tutti/scheduler/container"
)

// HostPorts are those of a container's published ports that are taken of the host, as they are: the network that they lead
// to may have an address of its own for them, or let others reach them at the container's own. Without a network that leads
// out there are none.
func (b *Book) HostPorts(c *container.Config, ports []netdriver.PortSpec) []netdriver.PortSpec {
	n, ok := b.outlet(c)
	if !ok {
		return nil
	}
	var taken []netdriver.PortSpec
	for _, p := range ports {
		if bound, ok := netdriver.Bound(n, p); ok {
			taken = append(taken, bound)
		}
	}
	return taken
}

// outlet is the network that a container's ports lead to, see [netdriver.Driver.Publish].
func (b *Book) outlet(c *container.Config) (netdriver.NetworkSpec, bool) {
	if !c.OwnNetwork() {
		return netdriver.NetworkSpec{}, false
	}
	four, six := container.Gateways(c.Networks, b.outlook)
	to := cmp.Or(four, six)
	for _, a := range c.Networks {
		if to == "" && !b.networks[a.Network].Internal {
			to = a.Network
		}
	}
	n := b.of(to)
	return n, to != "" && n.Bridged()
}

// outlook is what a network offers its containers.
func (b *Book) outlook(name string) container.Outlook {
	n := b.of(name)
	return container.Outlook{Internal: n.Internal, Four: !n.Internal && !n.NoIPv4, Six: !n.Internal && n.EnableIPv6}
}

// of is a network, one with all defaults when it is not known: the default bridge is made by its first container.
func (b *Book) of(name string) netdriver.NetworkSpec {
	if n, known := b.networks[name]; known {
		return n.NetworkSpec
	}
	return netdriver.WithGateways(netdriver.NetworkSpec{Name: name})
}
