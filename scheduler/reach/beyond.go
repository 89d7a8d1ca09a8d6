package reach

import (
	"context"
	"fmt"
	"net/netip"

	"tutti/dns"
	"tutti/netdriver/probe"
	"tutti/scheduler/api"
)

// ToHost checks whether a service reaches the host, at a port or, when number is 0, at all.
func (k *Checker) ToHost(ctx context.Context, from Service, number uint16, proto string) api.ReachCheck {
	c, a, ok := begin(from, api.ReachHost, asked(number, proto))
	if !ok {
		return c
	}
	sockets, err := probe.Sockets(k.Host)
	t := &trial{k: k, from: a, target: "the host", ns: k.Host, sockets: sockets, known: err == nil, ports: []port{{proto: "icmp"}}}
	if number != 0 {
		t.ports = []port{{proto, number}}
	}
	if a.Host {
		t.alone = true
		t.add(loopback4, "", Open)
	}
	for _, e := range a.gateways() {
		t.add(e.Gateway, e.Network, Open)
	}
	if len(t.addresses) == 0 {
		c.Reason, c.Summary = api.ReasonNoNetwork, fmt.Sprintf("the host has no address on the networks of %s: %s", from.Name, list(a.networks()))
		return c
	}
	c.Paths = t.run(ctx)
	Sum(&c)
	return c
}

// ToOutside checks whether a service reaches what is behind the host: its router, or else its nameservers.
func (k *Checker) ToOutside(ctx context.Context, from Service) api.ReachCheck {
	c, a, ok := begin(from, api.ReachOutside, "")
	switch {
	case !ok:
		return c
	case !a.Host && len(a.Endpoints) == 0:
		c.Reason, c.Summary = api.ReasonNoNetwork, from.Name+" is on no network"
		return c
	case len(k.Routers) == 0 && len(k.Nameservers) == 0:
		c.Reason, c.Summary = api.ReasonNoUplink, "the host itself has no way to the outside: no default route"
		return c
	}
	for _, router := range k.Routers {
		c.Paths = append(c.Paths, k.beyond(ctx, a, "the host's router", router, port{proto: "icmp"})...)
	}
	if !reached(c.Paths) && !a.inside() { // routers need not answer
		for _, server := range k.Nameservers {
			if c.Paths = append(c.Paths, k.beyond(ctx, a, "the host's nameserver", server, port{"tcp", dns.Listen.Port()})...); reached(c.Paths) {
				break
			}
		}
	}
	if reached(c.Paths) {
		c.Result = api.ReachYes
		c.Summary = answered(c.Paths)
		return c
	}
	Sum(&c)
	if c.Reason == api.ReasonInternal {
		c.Summary = fmt.Sprintf("there is no way out of %s: internal", list(a.networks()))
	}
	return c
}

// reached tells whether any path ends where it should. That a port is closed is an answer, too.
func reached(paths []api.ReachPath) bool {
	for _, p := range paths {
		if p.Reached || p.Reason == api.ReasonNotListening {
			return true
		}
	}
	return false
}

func answered(paths []api.ReachPath) string {
	for _, p := range paths {
		if p.Reached || p.Reason == api.ReasonNotListening {
			return fmt.Sprintf("%s answers", p.Address)
		}
	}
	return ""
}

// ToAddress checks whether a service reaches an address, or a name that its resolver knows.
func (k *Checker) ToAddress(ctx context.Context, from Service, to string, number uint16, proto string) api.ReachCheck {
	c, a, ok := begin(from, to, asked(number, proto))
	if !ok {
		return c
	}
	var addrs []netip.Addr
	if addr, err := netip.ParseAddr(to); err == nil {
		addrs = append(addrs, addr)
	} else {
		if c.Name = k.name(ctx, a, to, k.Timeout+nameGrace); c.Name == nil {
			c.Reason, c.Summary = api.ReasonNameUnknown, from.Name+" has no resolver of ours: give an address"
			return c
		}
		if addrs = c.Name.Addrs; len(addrs) == 0 {
			c.Reason, c.Summary = api.ReasonNameUnknown, fmt.Sprintf("%s does not resolve in %s: %s", to, from.Name, c.Name.Error)
			return c
		}
	}
	p := port{proto: "icmp"}
	if number != 0 {
		p = port{proto, number}
	}
	for _, addr := range addrs {
		c.Paths = append(c.Paths, k.beyond(ctx, a, to, addr, p)...)
	}
	c.Result, c.Reason = api.ReachNo, c.Paths[0].Reason
	Sum(&c)
	return c
}

// beyond tries one address that is on no container of ours, and looks whether it leaves the host.
func (k *Checker) beyond(ctx context.Context, a Party, target string, addr netip.Addr, p port) []api.ReachPath {
	t := &trial{k: k, from: a, target: target, ns: k.Host, elsewhere: true, ports: []port{p}}
	barrier := Open
	network := ""
	if a.inside() {
		barrier, network = Inside, list(a.networks())
	}
	t.add(addr, network, barrier)
	return t.run(ctx)
}
