package container

import (
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

// Now is the configuration with the networks that the container has now: those that it was created with, unless somebody
// has connected or disconnected it since.
func (c Config) Now(s State) Config {
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

// Gateways chooses the networks that the default routes of IPv4 and IPv6 lead into, as docker does: of those that lead out
// the one with the highest gw_priority, then the first by name; "" when none leads out.
func Gateways(networks []Attachment, leads func(network string) (four, six bool)) (four, six string) {
	sorted := slices.SortedFunc(slices.Values(networks), func(a, b Attachment) int {
		if a.GwPriority != b.GwPriority {
			return b.GwPriority - a.GwPriority
		}
		if a.Network < b.Network {
			return -1
		}
		return 1
	})
	for _, a := range sorted {
		has4, has6 := leads(a.Network)
		if four == "" && has4 {
			four = a.Network
		}
		if six == "" && has6 {
			six = a.Network
		}
	}
	return four, six
}
