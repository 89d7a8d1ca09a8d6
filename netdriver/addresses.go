package netdriver

import (
	"errors"
	"fmt"
	"net/netip"

	"tutti/netdriver/ipam"
)

// chooseAddresses takes an address of each family that the network has, or none.
func (n *network) chooseAddresses(e *endpoint, spec EndpointSpec) error {
	for _, four := range []bool{true, false} {
		wanted := spec.IPv6
		if four {
			wanted = spec.IPv4
		}
		p, addr, err := n.choose(four, wanted, spec.Name)
		if err != nil {
			for _, p := range n.pools {
				p.Release(e.IPv4.Addr())
			}
			return err
		}
		if p == nil {
			continue
		}
		gateway := p.Gateway()
		if n.Internal || !n.routesBy(gateway) {
			gateway = netip.Addr{}
		}
		if four {
			e.IPv4, e.Gateway = netip.PrefixFrom(addr, p.Subnet().Bits()), gateway
		} else {
			e.IPv6, e.Gateway6 = netip.PrefixFrom(addr, p.Subnet().Bits()), gateway
		}
	}
	return nil
}

// choose takes the wanted address, or one of the first subnet of the family that has any left. Without a subnet of the
// family the pool is nil.
func (n *network) choose(four bool, wanted netip.Addr, name string) (*ipam.Pool, netip.Addr, error) {
	var pools []*ipam.Pool
	for _, p := range n.pools {
		if p.Subnet().Addr().Is4() == four {
			pools = append(pools, p)
		}
	}
	if len(pools) == 0 {
		if wanted.IsValid() {
			return nil, wanted, fmt.Errorf("%w: %s is asked for, but the network has no %s", ErrInvalid, wanted, map[bool]string{true: "IPv4", false: "IPv6"}[four])
		}
		return nil, wanted, nil
	}
	if wanted.IsValid() {
		for _, p := range pools {
			if p.Subnet().Contains(wanted) {
				return p, wanted, p.Take(wanted, name)
			}
		}
		return nil, wanted, pools[0].Take(wanted, name) // which says that it is outside
	}
	for _, p := range pools { // the one it had last may be in any of them
		if last, ok := p.Last(name); ok && name != "" && p.Take(last, name) == nil {
			return p, last, nil
		}
	}
	var err error
	for _, p := range pools {
		addr, failure := p.Next(name)
		if failure == nil {
			return p, addr, nil
		}
		if err == nil || !errors.Is(failure, ipam.ErrExhausted) {
			err = failure
		}
	}
	return nil, wanted, err
}

// routesBy tells whether a gateway is one that containers send by.
func (n *network) routesBy(gateway netip.Addr) bool {
	return gateway.IsValid() && (n.Driver != driverIPvlan || n.opt.mode == "l2")
}

// routesByLink tells whether containers send everything to the interface itself, and the kernel of the host finds the way:
// layer 3 modes of ipvlan.
func (n *network) routesByLink() bool {
	return n.Driver == driverIPvlan && n.opt.mode != "l2" && !n.Internal
}
