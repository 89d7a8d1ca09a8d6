package reach

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

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
	if why := a.beside(); len(t.addresses) == 0 && why != "" {
		c.Reason, c.Summary = api.ReasonBeside, why
		return c
	}
	if len(t.addresses) == 0 {
		c.Reason, c.Summary = api.ReasonNoNetwork, fmt.Sprintf("the host has no address on the networks of %s: %s", from.Name, list(a.networks()))
		return c
	}
	c.Paths = t.run(ctx)
	Sum(&c)
	return c
}

// ToOutside checks whether a service reaches what is behind the host: its routers, or else its nameservers, of each family
// that the service has an address of. One that answers is enough.
func (k *Checker) ToOutside(ctx context.Context, from Service) api.ReachCheck {
	c, a, ok := begin(from, api.ReachOutside, "")
	if !ok {
		return c
	}
	routers, nameservers := askable(a, k.Routers), askable(a, k.Nameservers)
	switch {
	case !a.Host && len(a.Endpoints) == 0:
		c.Reason, c.Summary = api.ReasonNoNetwork, from.Name+" is on no network"
		return c
	case len(k.Routers) == 0 && len(k.Nameservers) == 0:
		c.Reason, c.Summary = api.ReasonNoUplink, "the host itself has no way to the outside: no default route"
		return c
	case len(routers) == 0 && len(nameservers) == 0:
		c.Reason, c.Summary = api.ReasonNoUplink, fmt.Sprintf("nobody outside is known whom %s could ask: it has %s, the host's routers are %s; give an address", from.Name, describeFamilies(a), join(k.Routers))
		return c
	}
	c.Paths = k.beyond(ctx, a, "the host's router", routers, port{proto: "icmp"})
	if !reached(c.Paths) && !a.inside() { // routers need not answer
		for _, server := range nameservers {
			if c.Paths = append(c.Paths, k.beyond(ctx, a, "the host's nameserver", []netip.Addr{server}, port{"tcp", dns.Listen.Port()})...); reached(c.Paths) {
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

// askable are the addresses that a container can send to: of a family of its own, and not those of the host's link alone.
func askable(a Party, all []netip.Addr) []netip.Addr {
	four, six := a.families()
	return slices.DeleteFunc(slices.Clone(all), func(addr netip.Addr) bool {
		return addr.Is4() && !four || addr.Is6() && (!six || addr.IsLinkLocalUnicast())
	})
}

func describeFamilies(a Party) string {
	switch four, six := a.families(); {
	case four && six:
		return "IPv4 and IPv6"
	case four:
		return "IPv4 alone"
	case six:
		return "IPv6 alone"
	}
	return "no address"
}

func join(addrs []netip.Addr) string {
	var all []string
	for _, a := range addrs {
		all = append(all, a.String())
	}
	return list(all)
}

// reached tells whether any path ends where it should. That a port is closed is an answer, too.
func reached(paths []api.ReachPath) bool { return slices.ContainsFunc(paths, answers) }

func answers(p api.ReachPath) bool { return p.Reached || p.Reason == api.ReasonNotListening }

// answered says who answers, and who of the others does not.
func answered(paths []api.ReachPath) string {
	var yes, no []string
	for _, p := range paths {
		if answers(p) {
			yes = append(yes, fmt.Sprintf("%s answers", p.Address))
		} else {
			no = append(no, fmt.Sprintf("%s does not", p.Address))
		}
	}
	return strings.Join(append(yes, no...), ", ")
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
	c.Paths = k.beyond(ctx, a, to, addrs, p)
	c.Result, c.Reason = api.ReachNo, c.Paths[0].Reason
	Sum(&c)
	return c
}

// beyond tries addresses that are on no container of ours, and looks whether what is sent leaves the host.
func (k *Checker) beyond(ctx context.Context, a Party, target string, addrs []netip.Addr, p port) []api.ReachPath {
	t := &trial{k: k, from: a, target: target, ns: k.Host, elsewhere: true, ports: []port{p}}
	barrier := Open
	network := ""
	if a.inside() {
		barrier, network = Inside, list(a.networks())
	}
	for _, addr := range addrs {
		t.add(addr, network, barrier)
	}
	return t.run(ctx)
}
