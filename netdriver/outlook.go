package netdriver

import (
	"net/netip"
	"strconv"
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
