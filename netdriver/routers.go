package netdriver

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Routers are the next hops of the host's default routes, none without one.
func (d *Driver) Routers() ([]netip.Addr, error) {
	routes, err := d.route.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	var all []netip.Addr
	for _, r := range routes {
		p, ok := prefixOf(r.Dst)
		if r.Dst != nil && (!ok || p.Bits() != 0) {
			continue
		}
		if addr, ok := netip.AddrFromSlice(r.Gw.To4()); ok && !slices.Contains(all, addr) {
			all = append(all, addr)
		}
	}
	return all, nil
}
