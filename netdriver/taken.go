package netdriver

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tutti/netdriver/ipam"
)

// taken is what of the address space is in use on the host.
type taken struct {
	networks  map[netip.Prefix]string // of ours → their names
	addresses map[netip.Prefix]int    // of interfaces → their indices
	routes    []netip.Prefix          // of all routing tables, those of policy routing and of VPNs too
	name      func(index int) string  // of an interface
	others    []*network              // that there are, or will be
}

// all returns everything that a default subnet must avoid.
func (t taken) all() []netip.Prefix {
	all := t.routes
	for p := range t.networks {
		all = append(all, p)
	}
	for p := range t.addresses {
		all = append(all, p)
	}
	return all
}

// check tells what a subnet that the user names collides with: another network or an interface. A route to something
// smaller, or just as large, would be dead then; one to something larger, like 10.0.0.0/8 of a VPN, may be overruled for a
// part of it. The subnet of macvlan and ipvlan is usually the one that the parent is in: only networks exclude each other.
func (t taken) check(s NetworkSpec) error {
	for i, pool := range s.Pools {
		p := pool.Subnet
		for q, name := range t.networks {
			if p.Overlaps(q) {
				return collision(i, p, fmt.Sprintf("%s of network %s", q, name))
			}
		}
		if s.Driver != driverBridge {
			continue
		}
		for q, index := range t.addresses {
			// The bridge of an earlier attempt, or one of the user's own, has the address already.
			if name := t.name(index); p.Overlaps(q) && name != s.Options[optionBridge] {
				return collision(i, p, fmt.Sprintf("%s of interface %s", q, name))
			}
		}
		for _, q := range t.routes {
			if p.Overlaps(q) && p.Bits() <= q.Bits() && s.Options[optionBridge] == "" {
				return collision(i, p, fmt.Sprintf("the route to %s", q))
			}
		}
	}
	return nil
}

func collision(i int, p netip.Prefix, owner string) error {
	return badPool(i, fmt.Sprintf("subnet %s overlaps %s: choose another one", p, owner))
}

// takenPrefixes asks the kernel for routes and addresses, and adds the networks of this
// driver whose bridge may be missing. What belongs to the networks with the given ids is left out.
func (d *Driver) takenPrefixes(except ...string) (taken, error) {
	t := taken{networks: map[netip.Prefix]string{}, addresses: map[netip.Prefix]int{}, name: d.linkNameOf}
	leaving := map[int]bool{} // interfaces
	d.mu.Lock()
	for _, n := range d.networks {
		if slices.Contains(except, n.ID) {
			leaving[int(n.index.Load())] = true
		} else {
			t.add(n)
		}
	}
	d.mu.Unlock()
	routes, err := again(func() ([]netlink.Route, error) {
		// Without a table in the filter it is those of all tables.
		return d.route.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
	})
	if err != nil {
		return t, fmt.Errorf("list routes: %w", err)
	}
	for _, r := range routes {
		if p, ok := prefixOf(r.Dst); ok && p.Bits() > 0 && !p.Addr().IsMulticast() && !leaving[r.LinkIndex] {
			t.routes = append(t.routes, p)
		}
	}
	addrs, err := again(func() ([]netlink.Addr, error) { return d.route.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return t, fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range addrs {
		if p, ok := prefixOf(a.IPNet); ok && !leaving[a.LinkIndex] {
			t.addresses[p.Masked()] = a.LinkIndex
		}
	}
	return t, nil
}

// add enters a network.
func (t *taken) add(n *network) {
	t.others = append(t.others, n)
	for _, p := range n.Subnets() {
		t.networks[p] = n.Name
	}
}

// again repeats a request for a list that changed while the kernel told it.
func again[T any](list func() ([]T, error)) ([]T, error) {
	all, err := list()
	for errors.Is(err, netlink.ErrDumpInterrupted) {
		all, err = list()
	}
	return all, err
}

// linkNameOf returns the name of an interface of the host for messages.
func (d *Driver) linkNameOf(index int) string {
	link, err := d.route.LinkByIndex(index)
	if err != nil {
		return fmt.Sprint(index)
	}
	return link.Attrs().Name
}

// blocks returns what subnets are cut from: those of the configuration, or the default ones.
func (d *Driver) blocks() ([]ipam.Block, error) {
	b, err := os.ReadFile(d.cfg.PoolsFile)
	if d.cfg.PoolsFile == "" || errors.Is(err, os.ErrNotExist) {
		return ipam.Defaults, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the address pools: %w", err)
	}
	var file struct {
		Pools []ipam.Block `json:"default-address-pools"`
	}
	if err := json.Unmarshal(b, &file); err != nil {
		return nil, fmt.Errorf("read the address pools: %s: %w", d.cfg.PoolsFile, err)
	}
	for _, block := range file.Pools {
		if err := block.Check(); err != nil {
			return nil, fmt.Errorf("read the address pools: %s: default-address-pools: %w", d.cfg.PoolsFile, err)
		}
	}
	if len(file.Pools) == 0 {
		return ipam.Defaults, nil
	}
	return file.Pools, nil
}
