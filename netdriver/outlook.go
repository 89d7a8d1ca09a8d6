package netdriver

import (
	"net/netip"
	"slices"
	"strconv"

	"tutti/netdriver/portmap"
)

// Apart tells whether the containers of the network may not talk to one another.
func (n NetworkSpec) Apart() bool {
	icc, err := strconv.ParseBool(n.Options[optionICC])
	return n.Bridged() && err == nil && !icc
}

// HostAddress returns the host's own address on the network, of IPv4 if there is one; zero if the host has none: its
// gateways are other machines, or there are none.
func (n NetworkSpec) HostAddress() netip.Addr {
	if !n.Bridged() {
		return netip.Addr{}
	}
	inhibited, _ := strconv.ParseBool(n.Options[optionInhibit]) // what is no truth was refused
	if four := n.Gateway(true); four.IsValid() && !inhibited {
		return four
	}
	return n.Gateway(false)
}

// MeetsHost tells whether the host has an address on a network of this specification, which need not be made yet.
func (n NetworkSpec) MeetsHost() bool {
	o, err := parseOptions(&n)
	if err != nil || !n.Bridged() {
		return false
	}
	six := n.EnableIPv6 || o.six || slices.ContainsFunc(n.Pools, func(p Pool) bool { return p.Subnet.Addr().Is6() })
	return !n.NoIPv4 && !o.noIPv4 && !o.inhibit4 && o.mode4 != portmap.Isolated || six && o.mode6 != portmap.Isolated
}
