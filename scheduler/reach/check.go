package reach

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"tutti/dns"
	"tutti/netdriver/netns"
	"tutti/netdriver/probe"
	"tutti/scheduler/api"
)

// maxPorts is how many ports of a container are tried when none is asked for: some expose thousands.
const maxPorts = 16

// Checker sends the packets.
type Checker struct {
	Host    *netns.NS     // the host's namespace; nil: the process's own
	Timeout time.Duration // how long an answer is waited for
	// Routers are the host's next hops to everywhere, and Nameservers its DNS servers, none of them on the host itself:
	// who reaches one of them reaches the outside.
	Routers, Nameservers []netip.Addr
	Dropper              string // who drops what the host forwards, if that is known
}

// port is a port to try; 0 with icmp for none.
type port struct {
	proto  string
	number uint16
}

// begin makes a check and finds who asks.
func begin(from Service, to, asked string) (api.ReachCheck, Party, bool) {
	c := api.ReachCheck{From: from.Name, To: to, Port: asked, Result: api.ReachNo}
	p, ok := from.first()
	switch {
	case !ok && len(from.Parties) == 0:
		c.Reason, c.Summary = api.ReasonNoneOfService, from.Name+" has no container: `up` creates it"
	case !ok:
		c.Reason, c.Summary = api.ReasonNotRunning, fmt.Sprintf("%s does not run: %s is %s", from.Name, from.Parties[0].Name, from.Parties[0].State)
	case !p.Host && p.NS == nil:
		c.Reason, c.Summary, ok = api.ReasonNotRunning, from.Name+" has just ended", false
	}
	return c, p, ok
}

// Service checks whether one service reaches another, at a port or at any of its ports when number is 0.
func (k *Checker) Service(ctx context.Context, from, to Service, number uint16, proto string) api.ReachCheck {
	c, a, ok := begin(from, to.Name, asked(number, proto))
	if !ok {
		return c
	}
	lookup := make(chan *api.ReachName, 1)
	go func() { lookup <- k.name(ctx, a, to.Name, k.Timeout) }()
	var idle *Party
	for i, b := range to.Parties {
		if !b.Running || !b.Host && b.NS == nil {
			idle = &to.Parties[i]
			continue
		}
		c.Paths = append(c.Paths, k.container(ctx, a, b, number, proto)...)
	}
	c.Name = <-lookup
	switch {
	case len(to.Parties) == 0:
		c.Reason, c.Summary = api.ReasonNoneOfService, to.Name+" has no container: `up` creates it"
		return c
	case len(c.Paths) == 0 && idle != nil:
		c.Reason, c.Summary = api.ReasonNotRunning, fmt.Sprintf("%s does not run: %s is %s", to.Name, idle.Name, idle.State)
		return c
	}
	explain(&c, a, to)
	Sum(&c)
	if idle != nil && c.Result == api.ReachYes {
		c.Result, c.Reason, c.Summary = api.ReachPartly, api.ReasonNotRunning, fmt.Sprintf("%s is %s", idle.Name, idle.State)
	}
	return c
}

// explain says in words what keeps two services apart when they share no network.
func explain(c *api.ReachCheck, a Party, to Service) {
	for _, p := range c.Paths {
		if p.Reached || p.Reason != api.ReasonNoCommon && p.Reason != api.ReasonNoNetwork {
			return
		}
	}
	var there []string
	for _, b := range to.Parties {
		if b.Running {
			there = b.networks()
			break
		}
	}
	c.Summary = fmt.Sprintf("they share no network: %s is on %s, %s is on %s", c.From, list(a.networks()), c.To, list(there))
}

func list(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, " and ")
}

func asked(number uint16, proto string) string {
	if number == 0 {
		return ""
	}
	return fmt.Sprintf("%d/%s", number, proto)
}

// container tries the addresses of one container: those on networks that are shared, or all when none is.
func (k *Checker) container(ctx context.Context, a, b Party, number uint16, proto string) []api.ReachPath {
	sockets, err := probe.Sockets(b.NS)
	t := &trial{k: k, from: a, target: b.Name, container: true, ns: b.NS, sockets: sockets, known: err == nil, ports: b.ports(number, proto, sockets)}
	switch {
	case !a.Host && len(a.Endpoints) == 0 && !a.shares(b): // nothing could be sent
	case a.shares(b):
		t.alone = true // who shares a namespace meets in it, nothing comes in from elsewhere
		t.add(loopback4, "", Open)
	case b.Host:
		for _, e := range a.gateways() {
			t.add(e.Gateway, e.Network, Open)
		}
	default:
		t.endpoints(a, b)
	}
	if why := a.beside(); len(t.addresses) == 0 && b.Host && why != "" {
		return []api.ReachPath{{Container: b.Name, Proto: "icmp", Reason: api.ReasonBeside, Detail: why}}
	}
	if len(t.addresses) == 0 {
		return []api.ReachPath{{Container: b.Name, Proto: "icmp", Reason: api.ReasonNoNetwork, Detail: fmt.Sprintf("%s is on no network", onNone(a, b))}}
	}
	return t.run(ctx)
}

func onNone(a, b Party) string {
	if len(a.Endpoints) == 0 && !a.Host {
		return a.Name
	}
	return b.Name
}

var loopback4 = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// ports are what is tried of a container: the port that was asked for, or those that it declares, or those at which it
// listens for others, or an echo.
func (p Party) ports(number uint16, proto string, sockets []probe.Bound) []port {
	if number != 0 {
		return []port{{proto, number}}
	}
	var all []port
	for _, d := range p.Ports {
		if d.Proto == "tcp" || d.Proto == "udp" {
			all = append(all, port{d.Proto, d.Port})
		}
	}
	seen := map[uint16]bool{}
	for _, b := range sockets {
		if len(p.Ports) == 0 && b.Proto == "tcp" && !b.Addr.Addr().IsLoopback() && !p.Host && !seen[b.Addr.Port()] {
			seen[b.Addr.Port()] = true
			all = append(all, port{"tcp", b.Addr.Port()})
		}
	}
	if len(all) == 0 {
		return []port{{proto: "icmp"}}
	}
	return all[:min(len(all), maxPorts)]
}

// name asks the resolver of a container for a name.
func (k *Checker) name(ctx context.Context, a Party, name string, timeout time.Duration) *api.ReachName {
	if a.Host || len(a.Endpoints) == 0 {
		return nil // it has none of ours
	}
	n := &api.ReachName{Name: name}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := a.NS.Dial(ctx, "udp", dns.Listen)
	if err == nil {
		defer conn.Close() //nolint:errcheck // nothing is buffered here
		n.Addrs, n.Error, err = dns.Ask(ctx, conn, name, false)
		if err == nil && n.Error == "" && len(n.Addrs) == 0 { // a network may have IPv6 alone
			n.Addrs, n.Error, err = dns.Ask(ctx, conn, name, true)
		}
	}
	switch {
	case ctx.Err() != nil:
		n.Error = "no answer within " + timeout.String()
	case err != nil:
		n.Error = err.Error()
	case n.Error == "" && len(n.Addrs) == 0:
		n.Error = "no address"
	}
	return n
}

// nameGrace is added to the time for names of others: the resolver may have to ask several servers in turn.
const nameGrace = 5 * time.Second
