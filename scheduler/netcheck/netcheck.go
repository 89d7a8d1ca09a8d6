// Package netcheck finds, before anything is made, which containers of a plan cannot be on their networks: the address
// that one asks for is outside of the subnets or somebody else's, or the network connects no more. It is pure.
package netcheck

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"

	"tutti/netdriver"
	"tutti/scheduler/container"
)

// Network is a network that there is, or that the plan makes.
type Network struct {
	netdriver.NetworkSpec // with gateways
	// New is set for one that the plan makes: the subnets that its specification does not name are not known.
	New bool
}

// Book is who is where. The zero value is not ready: see [New].
type Book struct {
	networks map[string]Network
	addrs    map[string]map[netip.Addr]string // network → address → container
	numbers  map[string]int                   // network → containers
	leavers  map[place]leaver
}

// place is an address of a network, or a hardware address there.
type place struct{ network, addr string }

// leaver is a container that the plan ends.
type leaver struct{ id, name string }

// New returns a book of networks by their full names.
func New(networks map[string]Network) *Book {
	return &Book{networks: networks, addrs: map[string]map[netip.Addr]string{}, numbers: map[string]int{}, leavers: map[place]leaver{}}
}

// Leaves enters a container that the plan ends, by its id, with what it has on a network until then.
func (b *Book) Leaves(id, name string, e container.Endpoint) {
	for _, addr := range []string{e.IPv4.Addr().String(), e.IPv6.Addr().String(), e.MAC.String()} {
		b.leavers[place{e.Network, addr}] = leaver{id, name}
	}
}

// Owners are the ids of the containers which the plan ends, and which have an address until then that another one, of a
// name, asks for: of the network's addresses, and of the hardware's.
func (b *Book) Owners(name string, a container.Attachment) (addrs, hardware []string) {
	owner := func(addr string) []string {
		if l, ok := b.leavers[place{a.Network, addr}]; ok && l.name != name {
			return []string{l.id}
		}
		return nil
	}
	for _, text := range []string{a.IPv4, a.IPv6} {
		if addr, err := netip.ParseAddr(text); err == nil {
			addrs = append(addrs, owner(addr.String())...)
		}
	}
	if mac, err := net.ParseMAC(a.MAC); err == nil {
		hardware = owner(mac.String())
	}
	return addrs, hardware
}

// Stays enters a container that is on a network whatever the plan does, with its addresses there.
func (b *Book) Stays(name, network string, addrs ...netip.Addr) {
	b.numbers[network]++
	for _, a := range addrs {
		if a.IsValid() {
			b.enter(network, a, name)
		}
	}
}

func (b *Book) enter(network string, a netip.Addr, name string) {
	if b.addrs[network] == nil {
		b.addrs[network] = map[netip.Addr]string{}
	}
	b.addrs[network][a] = name
}

// Joins enters a container that the plan puts on a network, or tells why that cannot be. What is wrong is a
// [container.Fault] whose key begins with "networks" and the network's full name.
func (b *Book) Joins(name string, a container.Attachment) error {
	n, known := b.networks[a.Network]
	if !known {
		return nil // that it is missing is found elsewhere
	}
	for _, wish := range []struct {
		key, text string
		four      bool
	}{{"ipv4_address", a.IPv4, true}, {"ipv6_address", a.IPv6, false}} {
		if wish.text == "" {
			continue
		}
		addr, err := netip.ParseAddr(wish.text)
		if err == nil {
			err = b.fits(n, addr, wish.four)
		} else {
			err = fmt.Errorf("%q is no address", wish.text)
		}
		if other, taken := b.addrs[a.Network][addr]; err == nil && taken {
			err = fmt.Errorf("%s is the address of container %s on network %s, too: every container needs one of its own", addr, other, a.Network)
		}
		if err != nil {
			return container.At(err, "networks", a.Network, wish.key)
		}
		b.enter(a.Network, addr, name)
	}
	b.numbers[a.Network]++
	if most := netdriver.Capacity(n.NetworkSpec); b.numbers[a.Network] > most {
		return container.At(fmt.Errorf("network %s would have %d containers, and it connects %d at most: use a second network", a.Network, b.numbers[a.Network], most), "networks", a.Network)
	}
	return nil
}

// fits tells why an address cannot be given out on a network, whoever asks.
func (b *Book) fits(n Network, addr netip.Addr, four bool) error {
	if addr.Is4() != four {
		return fmt.Errorf("%s is no IPv%s address", addr, map[bool]string{true: "4", false: "6"}[four])
	}
	var subnets []string
	for _, p := range n.Pools {
		if p.Subnet.Addr().Is4() != four {
			continue
		}
		if p.Subnet.Contains(addr) {
			return keeps(n.Name, p, addr)
		}
		subnets = append(subnets, p.Subnet.String())
	}
	has := !n.NoIPv4
	if !four {
		has = n.EnableIPv6
	}
	switch {
	case len(subnets) > 0:
		return fmt.Errorf("%s is in no subnet of network %s, %s: choose one that is", addr, n.Name, strings.Join(subnets, ", "))
	case has && n.New:
		return fmt.Errorf("%s is asked for on network %s, which is given any free subnet: name one in its ipam.config.subnet", addr, n.Name)
	case four:
		return fmt.Errorf("%s is asked for, but network %s has no IPv4: remove `enable_ipv4: false`, or the address", addr, n.Name)
	default:
		return fmt.Errorf("%s is asked for, but network %s has no IPv6: give it `enable_ipv6: true` and an IPv6 subnet", addr, n.Name)
	}
}

// keeps tells for whom the network itself keeps an address of a subnet.
func keeps(network string, p netdriver.Pool, addr netip.Addr) error {
	if addr == p.Gateway {
		return fmt.Errorf("%s is the gateway of network %s: choose another address", addr, network)
	}
	for _, name := range slices.Sorted(maps.Keys(p.Aux)) {
		if p.Aux[name] == addr {
			return fmt.Errorf("%s is kept for %s in the aux_addresses of network %s: choose another address", addr, name, network)
		}
	}
	if addr == p.Subnet.Addr() || addr.Is4() && !p.Subnet.Contains(addr.Next()) {
		return fmt.Errorf("%s stands for all of subnet %s: choose another address", addr, p.Subnet)
	}
	return nil
}

// HostGateway tells why a container cannot be told where the host is, which one of its extra_hosts asks for: on none of its
// networks the host has an address. What is wrong is a [container.Fault] about extra_hosts.
func (b *Book) HostGateway(c *container.Config) error {
	asks := slices.ContainsFunc(c.ExtraHosts, func(h string) bool { return strings.HasSuffix(h, "=host-gateway") })
	if !asks || !c.OwnNetwork() || len(c.Networks) == 0 {
		return nil
	}
	var names []string
	for _, a := range c.Networks {
		n, known := b.networks[a.Network]
		if !known || n.MeetsHost() {
			return nil
		}
		names = append(names, a.Network)
	}
	return container.At(fmt.Errorf("host-gateway: the host has no address on %s: put the service on a bridge network, too, or write an address", strings.Join(names, " and ")), "extra_hosts")
}
