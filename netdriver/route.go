package netdriver

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"

	"tutti/netdriver/netns"
)

// Route leads the default routes of a running container, whose namespace is given, into other networks that it is attached
// to: IPv4's into the network with the id four, IPv6's into six; "", or a network without a gateway of that family, is
// none. Its published ports follow IPv4's, as they do in [Driver.Publish], and stay bound meanwhile. What is right already
// is left alone.
func (d *Driver) Route(ctx context.Context, containerID string, ns *netns.NS, four, six string) error {
	in, err := d.enter(ns)
	if err != nil {
		return err
	}
	defer in.close()
	d.mu.Lock()
	c := d.containers[containerID]
	var endpoints []*endpoint
	if c != nil {
		endpoints = slices.Clone(c.endpoints)
	}
	for _, e := range endpoints {
		e.DefaultRoute = e.NetworkID == four
		e.DefaultRoute = e.defaultRoute(true, 0) != nil
		e.DefaultRoute6 = e.NetworkID == six
		e.DefaultRoute6 = e.defaultRoute(false, 0) != nil
	}
	d.mu.Unlock()
	d.wiring.Lock()
	err = in.setDefaultRoutes(endpoints)
	d.wiring.Unlock()
	if err != nil || c == nil {
		return err
	}
	return d.movePorts(ctx, containerID, c)
}

// setDefaultRoutes makes the default routes in a container those that its endpoints say, and removes that of a family
// which has none.
func (in *inside) setDefaultRoutes(endpoints []*endpoint) error {
	handle, err := in.handle()
	if err != nil {
		return err
	}
	for _, f := range []struct {
		family int
		leads  func(*endpoint) bool
	}{
		{netlink.FAMILY_V4, func(e *endpoint) bool { return e.DefaultRoute }},
		{netlink.FAMILY_V6, func(e *endpoint) bool { return e.DefaultRoute6 }},
	} {
		i := slices.IndexFunc(endpoints, f.leads)
		if i < 0 {
			if err := dropDefaultRoutes(handle, f.family, endpoints); err != nil {
				return err
			}
			continue
		}
		e := endpoints[i]
		index, err := in.socket.Index(e.Interface)
		if err != nil {
			return fmt.Errorf("find %s in the container: %w", e.Interface, err)
		}
		if err := handle.RouteReplace(e.defaultRoute(f.family == netlink.FAMILY_V4, index)); err != nil {
			return fmt.Errorf("set default route by %s: %w", e.Interface, err)
		}
	}
	return nil
}

// dropDefaultRoutes removes the default routes of a family that lead by a gateway of the container's networks. What the
// container has set itself stays.
func dropDefaultRoutes(handle *netlink.Handle, family int, endpoints []*endpoint) error {
	routes, err := handle.RouteList(nil, family)
	if err != nil {
		return fmt.Errorf("list the routes in the container: %w", err)
	}
	for _, r := range routes {
		gw, _ := netip.AddrFromSlice(r.Gw)
		p, ok := prefixOf(r.Dst)
		ours := slices.ContainsFunc(endpoints, func(e *endpoint) bool { return e.Gateway == gw.Unmap() || e.Gateway6 == gw.Unmap() })
		if r.Gw == nil || !ours || ok && p.Bits() > 0 {
			continue
		}
		if err := handle.RouteDel(&r); err != nil {
			return fmt.Errorf("remove the default route by %s: %w", gw, err)
		}
	}
	return nil
}

// defaultRoute is the default route of a family that leads by the endpoint, whose interface has the index, nil if none
// does.
func (e *endpoint) defaultRoute(four bool, index int) *netlink.Route {
	wanted, has, gateway, all := e.DefaultRoute6, e.IPv6, e.Gateway6, "::/0"
	if four {
		wanted, has, gateway, all = e.DefaultRoute, e.IPv4, e.Gateway, "0.0.0.0/0"
	}
	switch {
	case !wanted || !has.IsValid():
		return nil
	case gateway.IsValid():
		return &netlink.Route{LinkIndex: index, Gw: gateway.AsSlice()}
	case e.network.routesByLink():
		return &netlink.Route{LinkIndex: index, Scope: netlink.SCOPE_LINK, Dst: ipNet(netip.MustParsePrefix(all))}
	default:
		return nil
	}
}

// outlet is the endpoint that published ports lead to: the one with the default route, see leads, or else the first that is not on
// an internal network; nil if there is none, or if the way out is by macvlan or ipvlan, where answers would go. d.mu is held.
func (c *container) outlet() *endpoint {
	var to *endpoint
	for _, e := range c.endpoints {
		if !e.network.Internal && (to == nil || e.leads() > to.leads()) {
			to = e
		}
	}
	if to != nil && !to.network.Bridged() {
		return nil
	}
	return to
}

// leads ranks endpoints by the default routes that lead there: IPv4's decides where ports are, IPv6's where there is no other.
func (e *endpoint) leads() int {
	switch {
	case e.DefaultRoute:
		return 2
	case e.DefaultRoute6:
		return 1
	}
	return 0
}

// address is where in the container a port of an address of the host leads to.
func (e *endpoint) address(host netip.Addr) netip.Addr {
	if e.IPv6.IsValid() && (host.Is6() || !e.IPv4.IsValid()) {
		return e.IPv6.Addr()
	}
	return e.IPv4.Addr()
}

// movePorts leads the ports of a container to its outlet, or gives them back if it has none any more. The sockets stay
// bound: nobody else gets the port.
func (d *Driver) movePorts(ctx context.Context, containerID string, c *container) error {
	d.mu.Lock()
	to := c.outlet()
	var moved, before []*binding
	for _, b := range c.bindings {
		if to == nil || b.ContainerIP == to.address(b.HostIP) {
			continue
		}
		old := *b
		before, moved = append(before, &old), append(moved, b)
		b.ContainerIP = to.address(b.HostIP)
	}
	d.unsettled = d.unsettled || len(moved) > 0
	some := len(c.bindings) > 0
	d.mu.Unlock()
	if to == nil && some {
		d.unpublish(containerID, func(*binding) bool { return true })
	}
	if len(moved) == 0 {
		return nil
	}
	if err := errors.Join(d.hairpin(to), d.openSockets(moved)); err != nil {
		return fmt.Errorf("move published ports: %w", err)
	}
	if err := d.Settle(ctx); err != nil {
		return fmt.Errorf("move published ports: %w", err)
	}
	return d.forgetFlows(before, toContainer)
}

// Container returns the endpoints and published ports that a container has now.
func (d *Driver) Container(containerID string) (endpoints []Endpoint, ports []PortBinding) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.containers[containerID]
	if c == nil {
		return nil, nil
	}
	for _, e := range c.endpoints {
		endpoints = append(endpoints, e.Endpoint)
	}
	for _, b := range c.bindings {
		ports = append(ports, b.PortBinding)
	}
	return endpoints, append(ports, c.openings...)
}

// Remember tells which addresses containers had that do not run now: they get them again while nobody else needs them.
// Call it before [Driver.Restore], the latest last.
func (d *Driver) Remember(endpoints []Endpoint) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range endpoints {
		n := d.networks[e.NetworkID]
		if n == nil || e.Name == "" {
			continue
		}
		for _, p := range n.pools {
			for _, a := range []netip.Prefix{e.IPv4, e.IPv6} {
				if a.IsValid() {
					p.Remember(map[string]netip.Addr{e.Name: a.Addr()})
				}
			}
		}
	}
}

// LeadsOut tells for which families containers on a network can have their default route there.
func (d *Driver) LeadsOut(networkID string) (four, six bool) {
	n := d.lookup(networkID)
	if n == nil || n.Internal {
		return false, false
	}
	leads := func(four bool) bool {
		has := slices.ContainsFunc(n.Pools, func(p Pool) bool { return p.Subnet.Addr().Is4() == four })
		return has && (n.Gateway(four).IsValid() || n.routesByLink())
	}
	return leads(true), leads(false)
}
