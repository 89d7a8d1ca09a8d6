package netdriver

import (
	"net/netip"
	"slices"

	"tutti/netdriver/portmap"
)

// place tells how a port of the container is published on the network of the endpoint: at ports of the host, with the
// specification that is left for them (ok is false if there are none), and at its own address, where the host only lets
// connections pass. The latter is a binding without a port of the host, as Docker has it.
func (e *endpoint) place(s PortSpec) (bound PortSpec, ok bool, opened []PortBinding) {
	o := e.network.opt
	if !s.HostIP.IsValid() && o.binding.IsValid() && o.binding != netip.IPv4Unspecified() { // which means both families
		s.HostIP = o.binding
	}
	routed4, routed6 := e.IPv4.IsValid() && o.mode4 == portmap.Routed, e.IPv6.IsValid() && o.mode6 == portmap.Routed
	want4, want6 := !s.HostIP.IsValid() || s.HostIP.Unmap().Is4(), !s.HostIP.IsValid() || !s.HostIP.Unmap().Is4()
	open := func(any netip.Addr, at netip.Prefix) {
		opened = append(opened, PortBinding{Proto: s.Proto, HostIP: any, ContainerIP: at.Addr(), ContainerPort: s.ContainerPort})
	}
	if want4 && routed4 {
		open(netip.IPv4Unspecified(), e.IPv4)
	}
	if want6 && routed6 {
		open(netip.IPv6Unspecified(), e.IPv6)
	}
	bind4 := want4 && !routed4 && (e.IPv4.IsValid() || !routed6)
	bind6 := want6 && !routed6 && (e.IPv6.IsValid() || !routed4)
	switch {
	case bind4 && !bind6 && !s.HostIP.IsValid():
		s.HostIP = netip.IPv4Unspecified()
	case bind6 && !bind4 && !s.HostIP.IsValid():
		s.HostIP = netip.IPv6Unspecified()
	}
	return s, bind4 || bind6, opened
}

// Bound is what of a published port is taken of the host for a container whose ports lead to it on a network, be it one that
// is to be made. ok is false when nothing is: the port is reached at the container's own address.
func Bound(n NetworkSpec, s PortSpec) (bound PortSpec, ok bool) {
	e := &endpoint{network: &network{}}
	if o, err := parseOptions(&n); err == nil { // what is wrong with them is for others to say
		e.network.opt = o
	}
	if !n.NoIPv4 && !e.network.opt.noIPv4 {
		e.IPv4 = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	if n.EnableIPv6 || e.network.opt.six {
		e.IPv6 = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	bound, ok, _ = e.place(s)
	return bound, ok
}

// openRules returns the openings of a container in the firewall's terms: the ports that are published at its own address,
// and those that trusted interfaces of the host reach there besides. d.mu is held.
func (c *container) openRules() []portmap.Opening {
	var all []portmap.Opening
	for _, b := range c.openings {
		if e := c.endpointOf(b.ContainerIP); e != nil {
			all = append(all, portmap.Opening{Bridge: e.network.Bridge, Proto: b.Proto, Container: netip.AddrPortFrom(b.ContainerIP, b.ContainerPort)})
		}
	}
	for _, b := range c.bindings {
		if e := c.endpointOf(b.ContainerIP); e != nil {
			for _, from := range e.network.opt.trusted {
				all = append(all, portmap.Opening{Bridge: e.network.Bridge, Proto: b.Proto, Container: b.target(), From: from})
			}
		}
	}
	return all
}

func (c *container) endpointOf(a netip.Addr) *endpoint {
	if i := slices.IndexFunc(c.endpoints, func(e *endpoint) bool { return e.has(a) }); i >= 0 {
		return c.endpoints[i]
	}
	return nil
}
