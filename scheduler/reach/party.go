package reach

import (
	"fmt"
	"net/netip"
	"slices"

	"tutti/dns"
	"tutti/netdriver/netns"
)

// Service is one service with its containers.
type Service struct {
	Name    string
	Parties []Party
}

// Party is a container.
type Party struct {
	Name    string
	State   string // how it is, "exited (1)", when it does not run
	Running bool
	// Host: it is on the host's network. NS is nil then, which stands for the host's namespace.
	Host      bool
	NS        *netns.NS
	Endpoints []Endpoint // none for a container on no network
	Ports     []dns.Port // that it exposes or publishes
}

// Endpoint is a container's place on a network.
type Endpoint struct {
	Network  string // full name
	Driver   string
	Internal bool
	NoICC    bool         // containers on it may not talk to one another
	Addrs    []netip.Addr // the container's
	Gateway  netip.Addr   // the host's address on it
	Default  bool         // the way out leads over it
}

// first is the first container that runs, in whose name the service asks.
func (s Service) first() (Party, bool) {
	i := slices.IndexFunc(s.Parties, func(p Party) bool { return p.Running })
	if i < 0 {
		return Party{}, false
	}
	return s.Parties[i], true
}

// networks are the names of all networks of a container.
func (p Party) networks() []string {
	var all []string
	for _, e := range p.Endpoints {
		all = append(all, e.Network)
	}
	return all
}

// families tells of which families the container can send at all.
func (p Party) families() (four, six bool) {
	if p.Host {
		return true, true
	}
	for _, e := range p.Endpoints {
		for _, a := range e.Addrs {
			four, six = four || a.Is4(), six || a.Is6()
		}
	}
	return four, six
}

// bridged tells whether the endpoint is on a bridge of the host, and not on the wire beside it.
func (e Endpoint) bridged() bool { return e.Driver == "" || e.Driver == "bridge" }

// beside says why the kernel does not connect a container with the host: all its networks are on a wire that the host is
// on, too. "" when that is not so.
func (p Party) beside() string {
	for _, e := range p.Endpoints {
		if e.bridged() {
			return ""
		}
	}
	if len(p.Endpoints) == 0 {
		return ""
	}
	return fmt.Sprintf("the kernel does not connect the host with containers on %s (%s)", list(p.networks()), p.Endpoints[0].Driver)
}

func (p Party) on(network string) bool { return slices.Contains(p.networks(), network) }

// inside tells whether there is no way out of any of its networks.
func (p Party) inside() bool {
	return !p.Host && !slices.ContainsFunc(p.Endpoints, func(e Endpoint) bool { return !e.Internal })
}

// shares tells whether two containers are in the same network namespace.
func (p Party) shares(other Party) bool {
	if p.Host || other.Host {
		return p.Host == other.Host
	}
	a, err1 := p.NS.Inode()
	b, err2 := other.NS.Inode()
	return err1 == nil && err2 == nil && a == b
}

// gateways are the host's addresses on a container's networks, that of the way out first.
func (p Party) gateways() []Endpoint {
	all := slices.DeleteFunc(slices.Clone(p.Endpoints), func(e Endpoint) bool { return !e.Gateway.IsValid() })
	slices.SortStableFunc(all, func(a, b Endpoint) int {
		switch {
		case a.Default && !b.Default:
			return -1
		case b.Default && !a.Default:
			return 1
		}
		return 0
	})
	return all
}
