package engine

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/compose-spec/compose-go/v2/types"

	"tutti/netdriver"
	"tutti/scheduler/container"
)

// NetworkSpec reads a network's compose section. What is wrong is a [container.Fault] about one of its keys.
func NetworkSpec(c types.NetworkConfig) (netdriver.NetworkSpec, error) {
	spec, err := readNetwork(c)
	if err != nil {
		return spec, err
	}
	return spec, NetworkFault(c.Name, netdriver.CheckNetwork(spec))
}

// readNetwork reads a network's compose section, whatever its driver says to that.
func readNetwork(c types.NetworkConfig) (netdriver.NetworkSpec, error) {
	spec := netdriver.NetworkSpec{
		Name: c.Name, Driver: c.Driver, Internal: c.Internal, Attachable: c.Attachable, Options: c.DriverOpts, IPAM: c.Ipam.Driver, IPAMOptions: c.Ipam.Options,
		NoIPv4: c.EnableIPv4 != nil && !*c.EnableIPv4, EnableIPv6: c.EnableIPv6 != nil && *c.EnableIPv6,
	}
	if spec.Driver == "default" {
		spec.Driver = ""
	}
	for i, pool := range c.Ipam.Config {
		if pool == nil {
			continue
		}
		p, err := readPool(pool)
		if err != nil {
			return spec, container.At(fmt.Errorf("network %s: %w", c.Name, err), "ipam", "config", fmt.Sprint(i))
		}
		if p.Subnet.IsValid() {
			spec.Pools = append(spec.Pools, p)
		}
	}
	return spec, nil
}

// NetworkFault makes an error of the driver's about a network the fault of one of the network's keys.
func NetworkFault(name string, err error) error {
	if bad, ok := errors.AsType[*netdriver.SpecError](err); ok {
		return container.At(fmt.Errorf("network %s: %s", name, bad.What), bad.Path...)
	}
	return err
}

// readPool reads an element of ipam.config.
func readPool(pool *types.IPAMPool) (p netdriver.Pool, err error) {
	if pool.Subnet == "" {
		if pool.Gateway != "" || pool.IPRange != "" || len(pool.AuxiliaryAddresses) > 0 {
			return p, fmt.Errorf("a gateway, ip_range or aux_addresses need a subnet beside them")
		}
		return p, nil
	}
	if p.Subnet, err = netip.ParsePrefix(pool.Subnet); err != nil {
		return p, fmt.Errorf("subnet: %q is no subnet: write an address and a length, like 10.1.0.0/24", pool.Subnet)
	}
	if p.Subnet != p.Subnet.Masked() {
		return p, fmt.Errorf("subnet: %s is an address in a subnet: the subnet is %s", pool.Subnet, p.Subnet.Masked())
	}
	if pool.Gateway != "" {
		if p.Gateway, err = netip.ParseAddr(pool.Gateway); err != nil {
			return p, fmt.Errorf("gateway: %q is no address", pool.Gateway)
		}
	}
	if pool.IPRange != "" {
		if p.Range, err = netip.ParsePrefix(pool.IPRange); err != nil {
			return p, fmt.Errorf("ip_range: %q is no range: write an address and a length, like 10.1.0.128/25", pool.IPRange)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(pool.AuxiliaryAddresses)) {
		addr, err := netip.ParseAddr(pool.AuxiliaryAddresses[name])
		if err != nil {
			return p, fmt.Errorf("aux_addresses: %s: %q is no address", name, pool.AuxiliaryAddresses[name])
		}
		if p.Aux == nil {
			p.Aux = map[string]netip.Addr{}
		}
		p.Aux[name] = addr
	}
	return p, nil
}
