package netdriver

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strconv"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tutti/netdriver/ipam"
)

// Options of a network, named as Docker names them.
const (
	optionMTU        = "com.docker.network.driver.mtu"
	optionMasquerade = "com.docker.network.bridge.enable_ip_masquerade"
)

var idPattern = regexp.MustCompile(`^[0-9a-f]{8,}$`)

// check validates what does not depend on the host.
func check(s *NetworkSpec) error {
	if s.Driver == "" {
		s.Driver = "bridge"
	}
	if s.Driver != "bridge" {
		return fmt.Errorf("%w: driver %q is not supported, use bridge", ErrInvalid, s.Driver)
	}
	if !idPattern.MatchString(s.ID) {
		return fmt.Errorf("%w: id %q is not lower case hex of at least 8 digits", ErrInvalid, s.ID)
	}
	for key, value := range s.Options {
		switch key {
		case optionMTU:
			mtu, err := strconv.Atoi(value)
			if err != nil {
				return fmt.Errorf("%w: %s: %q is no number", ErrInvalid, key, value)
			}
			s.MTU = mtu
		case optionMasquerade:
			if _, err := strconv.ParseBool(value); err != nil {
				return fmt.Errorf("%w: %s: %q is neither true nor false", ErrInvalid, key, value)
			}
		default:
			return fmt.Errorf("%w: driver option %s is not supported", ErrInvalid, key)
		}
	}
	if s.MTU != 0 && (s.MTU < 68 || s.MTU > 65535) {
		return fmt.Errorf("%w: an MTU of %d is not possible", ErrInvalid, s.MTU)
	}
	s.Subnets = slices.Clone(s.Subnets)
	for i, p := range s.Subnets {
		s.Subnets[i] = p.Masked()
		if p.Addr().Is6() {
			s.EnableIPv6 = true
		}
	}
	if len(s.Subnets) > 2 || len(s.Subnets) == 2 && s.Subnets[0].Addr().Is4() == s.Subnets[1].Addr().Is4() {
		return fmt.Errorf("%w: more than one subnet of a family: %v", ErrInvalid, s.Subnets)
	}
	return nil
}

// resolve chooses what the specification leaves open. The host's lock is held.
func (d *Driver) resolve(spec NetworkSpec) (*network, error) {
	taken, err := d.takenPrefixes()
	if err != nil {
		return nil, err
	}
	four, six := families(spec.Subnets)
	if spec.Subnets, err = chosenSubnets(spec, four, six, d.seed(), taken); err != nil {
		return nil, err
	}
	if spec.MTU == 0 {
		spec.MTU = d.uplinkMTU()
	}
	n, err := newNetwork(Network{NetworkSpec: spec, Bridge: d.bridgeName(spec.ID)})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, other := range d.networks {
		if other.Bridge == n.Bridge {
			return nil, fmt.Errorf("%w: id %s begins like that of network %s", ErrInvalid, n.ID, other.Name)
		}
	}
	return n, nil
}

// seed stands for this engine on this machine, so that others choose other IPv6 prefixes.
func (d *Driver) seed() string {
	id, _ := os.ReadFile("/etc/machine-id") // a machine without one chooses as others like it do
	return string(id) + d.cfg.Instance
}

// chosenSubnets returns the wanted subnets, checked, and the missing ones, chosen.
func chosenSubnets(spec NetworkSpec, four, six netip.Prefix, seed string, t taken) (subnets []netip.Prefix, err error) {
	for _, p := range spec.Subnets {
		if owner, used := t.usedBy(p); used {
			return nil, fmt.Errorf("%w: subnet %s overlaps %s: choose another in ipam.config.subnet", ErrInvalid, p, owner)
		}
	}
	if !four.IsValid() {
		if four, err = ipam.Subnet(t.all()); err != nil {
			return nil, err
		}
	}
	subnets = append(subnets, four)
	if spec.EnableIPv6 && !six.IsValid() {
		if six, err = ipam.Subnet6(seed, t.all()); err != nil {
			return nil, err
		}
	}
	if six.IsValid() {
		subnets = append(subnets, six)
	}
	return subnets, nil
}

// families returns the IPv4 and the IPv6 subnet, zero where there is none.
func families(subnets []netip.Prefix) (four, six netip.Prefix) {
	for _, p := range subnets {
		if p.Addr().Is4() {
			four = p
		} else {
			six = p
		}
	}
	return four, six
}

// newNetwork makes the pools of a network whose subnets are chosen, and enters the gateways.
func newNetwork(resolved Network) (*network, error) {
	n := &network{Network: resolved, leaving: map[string]chan struct{}{}}
	for _, subnet := range n.Subnets {
		c := ipam.Config{Subnet: subnet, Gateway: n.Gateway6}
		if subnet.Addr().Is4() {
			c.Gateway, c.Range = n.Gateway, n.IPRange
		}
		for _, a := range n.AuxAddresses {
			if a.Is4() == subnet.Addr().Is4() {
				c.Aux = append(c.Aux, a)
			}
		}
		p, err := ipam.NewPool(c)
		if err != nil {
			return nil, err
		}
		if subnet.Addr().Is4() {
			n.Gateway = p.Gateway()
		} else {
			n.Gateway6 = p.Gateway()
		}
		n.pools = append(n.pools, p)
	}
	return n, nil
}

func (d *Driver) bridgeName(id string) string { return "tt" + d.cfg.Instance + id[:8] }

// taken is what of the address space the host uses.
type taken struct {
	links  map[netip.Prefix]string // prefixes of interfaces and of our networks → whose they are
	routes []netip.Prefix
}

// all returns everything that a default subnet must avoid.
func (t taken) all() []netip.Prefix {
	all := t.routes
	for p := range t.links {
		all = append(all, p)
	}
	return all
}

// usedBy tells what a subnet that is named by the user collides with: an interface or a
// network, while a route through a gateway may be overruled.
func (t taken) usedBy(p netip.Prefix) (string, bool) {
	for q, owner := range t.links {
		if p.Overlaps(q) {
			return fmt.Sprintf("%s of %s", q, owner), true
		}
	}
	return "", false
}

// takenPrefixes asks the kernel for routes and addresses, and adds the networks of this
// driver whose bridge may be missing.
func (d *Driver) takenPrefixes() (taken, error) {
	t := taken{links: map[netip.Prefix]string{}}
	routes, err := d.route.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{}, netlink.RT_FILTER_TABLE)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return t, fmt.Errorf("list routes: %w", err)
	}
	for _, r := range routes {
		if p, ok := prefixOf(r.Dst); ok && p.Bits() > 0 && !p.Addr().IsMulticast() {
			t.routes = append(t.routes, p)
		}
	}
	addrs, err := d.route.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return t, fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range addrs {
		if p, ok := prefixOf(a.IPNet); ok {
			t.links[p.Masked()] = fmt.Sprintf("interface %d", a.LinkIndex)
			if link, err := d.route.LinkByIndex(a.LinkIndex); err == nil {
				t.links[p.Masked()] = "interface " + link.Attrs().Name
			}
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, n := range d.networks {
		for _, p := range n.Subnets {
			t.links[p] = "network " + n.Name
		}
	}
	return t, nil
}

// uplinkMTU returns the MTU of the interface of the default route, 1500 without one.
func (d *Driver) uplinkMTU() int {
	const ethernet = 1500
	routes, err := d.route.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return ethernet
	}
	for _, r := range routes {
		if p, ok := prefixOf(r.Dst); r.Dst == nil || ok && p.Bits() == 0 {
			if link, err := d.route.LinkByIndex(r.LinkIndex); err == nil {
				return link.Attrs().MTU
			}
		}
	}
	return ethernet
}
