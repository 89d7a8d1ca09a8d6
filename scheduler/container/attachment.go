package container

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"tutti/netdriver"
)

// Attachment is one network of a container.
type Attachment struct {
	Network    string            `json:"network"` // the network's full name
	Aliases    []string          `json:"aliases,omitempty"`
	IPv4       string            `json:"ipv4,omitempty"`
	IPv6       string            `json:"ipv6,omitempty"`
	LinkLocal  []string          `json:"linkLocal,omitempty"`
	MAC        string            `json:"mac,omitempty"`
	Interface  string            `json:"interface,omitempty"`
	Priority   int               `json:"priority,omitempty"`
	GwPriority int               `json:"gwPriority,omitempty"`
	DriverOpts map[string]string `json:"driverOpts,omitempty"`
	Links      []Link            `json:"links,omitempty"` // names for others on this network, of `network connect --link`
}

// Endpoint is the attachment in the driver's terms, but for the network's id and the default route, of a container of that
// name. An error names the attribute that is wrong.
func (a Attachment) Endpoint(name string) (netdriver.EndpointSpec, error) {
	s := netdriver.EndpointSpec{Name: name, Interface: a.Interface, Options: a.DriverOpts}
	var err error
	if s.IPv4, err = address("ipv4_address", a.IPv4); err != nil {
		return s, err
	}
	if s.IPv6, err = address("ipv6_address", a.IPv6); err != nil {
		return s, err
	}
	for _, text := range a.LinkLocal {
		ip, err := address("link_local_ips", text)
		if err != nil {
			return s, err
		}
		s.LinkLocal = append(s.LinkLocal, ip)
	}
	if a.MAC != "" {
		if s.MAC, err = net.ParseMAC(a.MAC); err != nil || len(s.MAC) != 6 || s.MAC[0]&1 != 0 {
			return s, fmt.Errorf("mac_address: %q is no hardware address of one machine: write six pairs of hex digits, such as 02:42:ac:11:65:43", a.MAC)
		}
	}
	return s, netdriver.CheckEndpoint(s)
}

func address(what, s string) (netip.Addr, error) {
	if s == "" {
		return netip.Addr{}, nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return a, fmt.Errorf("%s: %q is no address", what, s)
	}
	return a.Unmap(), nil
}

// Now is the configuration with the networks, the name, the limits and the restart policy that the container has now: those
// that it was created with, unless somebody has changed them since.
func (c Config) Now(s State) Config {
	if s.Name != "" {
		c.Name = s.Name
	}
	if s.Updated != nil {
		c.Limits, c.Restart = s.Updated.Limits, s.Updated.Restart
	}
	if s.Networks == nil {
		return c
	}
	c.Networks = s.Networks
	for _, a := range s.Networks {
		for _, l := range a.Links {
			l.Network = a.Network
			c.Links = append(slices.Clip(c.Links), l)
		}
	}
	return c
}

// On is the container's place on a network, if it has one.
func (c *Config) On(network string) (Attachment, bool) {
	i := slices.IndexFunc(c.Networks, func(a Attachment) bool { return a.Network == network })
	if i < 0 {
		return Attachment{}, false
	}
	return c.Networks[i], true
}

// OwnNetwork tells whether the container has a network namespace of its own that can be connected to networks.
func (c *Config) OwnNetwork() bool { return c.NetworkMode == "" }

// Outlook is what a network offers its containers: for which families they can have their default route there.
type Outlook struct{ Internal, Four, Six bool }

// families counts the families that the network leads out for.
func (o Outlook) families() (n int) {
	for _, leads := range []bool{o.Four, o.Six} {
		if leads {
			n++
		}
	}
	return n
}

// Order sorts networks as docker does (Endpoint.Less of libnetwork) where the first of several counts, for default routes
// and for names that are known on more than one: the highest gw_priority, then those that are not internal, those that lead
// out for more families, and by name. The networks that are given stay as they are.
func Order(networks []Attachment, at func(network string) Outlook) []Attachment {
	internal := func(a Attachment) int {
		if at(a.Network).Internal {
			return 1
		}
		return 0
	}
	return slices.SortedFunc(slices.Values(networks), func(a, b Attachment) int {
		return cmp.Or(
			cmp.Compare(b.GwPriority, a.GwPriority), cmp.Compare(internal(a), internal(b)),
			cmp.Compare(at(b.Network).families(), at(a.Network).families()), cmp.Compare(a.Network, b.Network),
		)
	})
}

// Gateways chooses the networks that the default routes of IPv4 and IPv6 lead into: the first in [Order] that lead out;
// "" when none does.
func Gateways(networks []Attachment, at func(network string) Outlook) (four, six string) {
	for _, a := range Order(networks, at) {
		o := at(a.Network)
		if four == "" && o.Four {
			four = a.Network
		}
		if six == "" && o.Six {
			six = a.Network
		}
	}
	return four, six
}
