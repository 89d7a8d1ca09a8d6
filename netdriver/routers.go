package netdriver

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Routers are the next hops of the host's default routes, IPv4's first, none without one. Those of IPv6 have link-local
// addresses more often than not, which only the host itself can ask.
func (d *Driver) Routers() ([]netip.Addr, error) {
	var all []netip.Addr
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		routes, err := d.route.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
		if err != nil {
			return nil, fmt.Errorf("list routes: %w", err)
		}
		for _, r := range routes {
			p, ok := prefixOf(r.Dst)
			if r.Dst != nil && (!ok || p.Bits() != 0) {
				continue
			}
			if addr, ok := netip.AddrFromSlice(r.Gw); ok && !slices.Contains(all, addr.Unmap()) {
				all = append(all, addr.Unmap())
			}
		}
	}
	return all, nil
}
