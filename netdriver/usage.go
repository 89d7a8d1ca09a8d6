package netdriver

import (
	"net/netip"
)

// SubnetUsage is how much of a subnet is taken. Numbers beyond 2^64-1 are that.
type SubnetUsage struct {
	Subnet netip.Prefix
	Used   uint64 // addresses that nobody else can have, those that no machine can have included
	Free   uint64 // addresses that are given out unasked
}

// Usage tells how much of a network's subnets is taken, in their order; nil for one that is not there.
func (d *Driver) Usage(networkID string) []SubnetUsage {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.networks[networkID]
	if n == nil {
		return nil
	}
	var all []SubnetUsage
	for _, p := range n.pools {
		u := SubnetUsage{Subnet: p.Subnet()}
		u.Used, u.Free = p.Usage()
		all = append(all, u)
	}
	return all
}
