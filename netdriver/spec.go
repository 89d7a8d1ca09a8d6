package netdriver

import (
	"net"
	"net/netip"
)

// NetworkSpec describes a network that is wanted.
type NetworkSpec struct {
	ID          string            // lower case hex, at least 8 digits, the first 8 unique
	Name        string            // for messages
	Driver      string            // "bridge", "macvlan", "ipvlan"; empty: bridge
	Pools       []Pool            // any number of IPv4 and of IPv6; a family without one gets a subnet that is free
	IPAM        string            // "null": nobody gives out addresses; "default" or empty
	IPAMOptions map[string]string // kept, without effect
	Attachable  bool              // kept, without effect: containers can be attached by hand anyway
	NoIPv4      bool
	EnableIPv6  bool
	Internal    bool              // no way out and none in, but the host's
	MTU         int               // bytes; 0: the uplink's, for macvlan and ipvlan the parent's
	Options     map[string]string // driver_opts, see optionKeys
	Labels      map[string]string
}

// Pool is a subnet of a network.
type Pool struct {
	Subnet  netip.Prefix          // zero in a NetworkSpec: chosen
	Gateway netip.Addr            // zero: the first address of the subnet, or none where the driver needs none
	Range   netip.Prefix          // addresses to choose from; zero: the whole subnet
	Aux     map[string]netip.Addr `json:",omitempty"` // addresses that belong to somebody else, by their names
}

// Network is a network as it is: the specification with everything chosen.
type Network struct {
	NetworkSpec
	Bridge string // the interface on the host: a bridge, or the parent of macvlan and ipvlan
	Own    bool   // the driver has made that interface, and removes it
}

// Subnets returns the subnets of all pools.
func (n NetworkSpec) Subnets() []netip.Prefix {
	var all []netip.Prefix
	for _, p := range n.Pools {
		all = append(all, p.Subnet)
	}
	return all
}

// Gateway returns the first gateway of a family, zero if there is none.
func (n NetworkSpec) Gateway(four bool) netip.Addr {
	for _, p := range n.Pools {
		if p.Gateway.IsValid() && p.Gateway.Is4() == four {
			return p.Gateway
		}
	}
	return netip.Addr{}
}

// Bridged tells whether containers are linked to a bridge of the host: where they are not, there are no published ports,
// and nothing of the host's firewall concerns them.
func (n NetworkSpec) Bridged() bool { return n.Driver == driverBridge }

// EndpointSpec asks for a link between a container and a network.
type EndpointSpec struct {
	NetworkID    string
	Name         string           // the container's name: the address it had last is preferred
	Interface    string           // in the container; empty: the first free ethN
	IPv4, IPv6   netip.Addr       // zero: any
	MAC          net.HardwareAddr // nil: from the address, as Docker does
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
	Interface     string       // in the container
	HostInterface string       // empty with macvlan and ipvlan
	IPv4          netip.Prefix // the address with the subnet's length; zero if the network has no IPv4
	IPv6          netip.Prefix // zero if the network has no IPv6
	MAC           net.HardwareAddr
	Gateway       netip.Addr // zero on internal networks
	Gateway6      netip.Addr
	DefaultRoute  bool           // of IPv4
	DefaultRoute6 bool           `json:",omitempty"`
	LinkLocal     []netip.Prefix `json:",omitempty"`
	// Namespace is the path of the container's network namespace, asked for on [Driver.Restore] alone.
	Namespace string `json:"-"`
}

// PortSpec asks for a port of the host that leads into a container.
type PortSpec struct {
	Proto         string     // "tcp", "udp", "sctp"; empty is tcp
	HostIP        netip.Addr // zero: all addresses of the host
	HostPort      uint16     // 0: a free one of the ephemeral range
	HostPortEnd   uint16     // not 0: the first free one from HostPort to this
	ContainerPort uint16
	Input         bool // the host's INPUT chain governs it: the relay serves it, as a program of the host
}

// PortBinding is a published port.
type PortBinding struct {
	Proto         string
	HostIP        netip.Addr // 0.0.0.0 and :: stand for all addresses of their family
	HostPort      uint16
	ContainerIP   netip.Addr
	ContainerPort uint16
	Input         bool `json:",omitempty"` // by the relay alone
}
