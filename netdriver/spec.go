package netdriver

import (
	"net"
	"net/netip"
)

// NetworkSpec describes a network that is wanted.
type NetworkSpec struct {
	ID           string         // lower case hex, at least 8 digits, the first 8 unique
	Name         string         // for messages
	Driver       string         // "bridge", or empty
	Subnets      []netip.Prefix // at most one of IPv4 and one of IPv6; missing ones are chosen
	Gateway      netip.Addr     // IPv4; zero: the first address of the subnet
	Gateway6     netip.Addr
	IPRange      netip.Prefix // IPv4 addresses to choose from; zero: the whole subnet
	AuxAddresses []netip.Addr // addresses that belong to somebody else
	Internal     bool         // no way out and none in, but the host's
	EnableIPv6   bool
	MTU          int               // bytes; 0: the uplink's
	Options      map[string]string // driver_opts, see optionKeys
	Labels       map[string]string
}

// Network is a network as it is: the specification with everything chosen.
type Network struct {
	NetworkSpec
	Bridge string // the interface on the host
}

// EndpointSpec asks for a link between a container and a network.
type EndpointSpec struct {
	NetworkID    string
	Name         string           // the container's name: the address it had last is preferred
	Interface    string           // in the container; empty: the first free ethN
	IPv4, IPv6   netip.Addr       // zero: any
	MAC          net.HardwareAddr // nil: from the IPv4 address, as Docker does
	DefaultRoute bool             // the way out leads here; without effect on internal networks
	// DefaultRoute6 is the same for IPv6, where that leads elsewhere than IPv4.
	DefaultRoute6 bool
	LinkLocal     []netip.Addr      // further addresses of the interface
	Options       map[string]string // driver_opts, see [CheckEndpoint]
}

// Endpoint is the link of a container to a network.
type Endpoint struct {
	NetworkID     string
	ContainerID   string
	Name          string
	Interface     string // in the container
	HostInterface string
	IPv4          netip.Prefix // the address with the subnet's length
	IPv6          netip.Prefix // zero if the network has no IPv6
	MAC           net.HardwareAddr
	Gateway       netip.Addr // zero on internal networks
	Gateway6      netip.Addr
	DefaultRoute  bool           // of IPv4
	DefaultRoute6 bool           `json:",omitempty"`
	LinkLocal     []netip.Prefix `json:",omitempty"`
}

// PortSpec asks for a port of the host that leads into a container.
type PortSpec struct {
	Proto         string     // "tcp", "udp"; empty is tcp
	HostIP        netip.Addr // zero: all addresses of the host
	HostPort      uint16     // 0: a free one of the ephemeral range
	HostPortEnd   uint16     // not 0: the first free one from HostPort to this
	ContainerPort uint16
}

// PortBinding is a published port.
type PortBinding struct {
	Proto         string
	HostIP        netip.Addr // 0.0.0.0 and :: stand for all addresses of their family
	HostPort      uint16
	ContainerIP   netip.Addr
	ContainerPort uint16
}
