package netdriver

import (
	"cmp"
	"fmt"
	"os"
	"regexp"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tutti/netdriver/ipam"
	"tutti/netdriver/portmap"
)

var idPattern = regexp.MustCompile(`^[0-9a-f]{8,}$`)

// CheckNetwork finds what is wrong with a specification as far as it does not depend on the host: a [SpecError]. The
// specification needs no id.
func CheckNetwork(s NetworkSpec) error {
	s.ID = cmp.Or(s.ID, "00000000")
	return check(&s)
}

// WithGateways returns the specification with the gateways that follow from its subnets.
func WithGateways(s NetworkSpec) NetworkSpec {
	s.Driver = cmp.Or(s.Driver, driverBridge)
	n, err := newNetwork(Network{NetworkSpec: s})
	if err != nil { // which is for CheckNetwork to say
		return s
	}
	return n.NetworkSpec
}

// check validates what does not depend on the host, and enters defaults.
func check(s *NetworkSpec) error {
	s.Driver = cmp.Or(s.Driver, driverBridge)
	switch s.Driver {
	case driverBridge, driverMacvlan, driverIPvlan:
	case "host", "null":
		return &SpecError{[]string{"driver"}, fmt.Sprintf("only one instance of %q network is allowed: use it by its name, with `external: true`", s.Driver)}
	default:
		return &SpecError{[]string{"driver"}, fmt.Sprintf("the driver %q is not there: use bridge, macvlan or ipvlan", s.Driver)}
	}
	if !idPattern.MatchString(s.ID) {
		return fmt.Errorf("%w: id %q is not lower case hex of at least 8 digits", ErrInvalid, s.ID)
	}
	o, err := parseOptions(s)
	if err != nil {
		return err
	}
	s.MTU = cmp.Or(o.mtu, s.MTU)
	if s.MTU != 0 && (s.MTU < 68 || s.MTU > 65535) {
		return badOption(optionMTU, fmt.Sprintf("an MTU of %d is not possible: it is from 68 to 65535", s.MTU))
	}
	s.NoIPv4, s.EnableIPv6 = s.NoIPv4 || o.noIPv4, s.EnableIPv6 || o.six
	s.Pools = slices.Clone(s.Pools)
	for i, p := range s.Pools {
		s.Pools[i].Subnet = p.Subnet.Masked()
		s.EnableIPv6 = s.EnableIPv6 || p.Subnet.Addr().Is6()
	}
	if err := checkFamilies(s, o); err != nil {
		return err
	}
	return checkPools(s, o)
}

// checkFamilies validates which families and whose addresses the network has.
func checkFamilies(s *NetworkSpec, o options) error {
	switch s.IPAM {
	case "", "default":
	case "null":
		if len(s.Pools) > 0 {
			return &SpecError{[]string{"ipam", "driver"}, "the driver null has no subnets"}
		}
		s.NoIPv4, s.EnableIPv6 = true, false
	default:
		return &SpecError{[]string{"ipam", "driver"}, fmt.Sprintf("the driver %q is not there: use default or null", s.IPAM)}
	}
	// A link without addresses is for those who get them elsewhere, by DHCP say: from the other end of the parent.
	if bare := s.Driver != driverBridge && (s.Driver != driverIPvlan || o.mode == "l2"); s.NoIPv4 && !s.EnableIPv6 && !bare {
		return &SpecError{[]string{"enable_ipv4"}, "IPv4 or IPv6 must be enabled"}
	}
	return nil
}

// checkPools validates the subnets that are given.
func checkPools(s *NetworkSpec, o options) error {
	for i, p := range s.Pools {
		if !p.Subnet.IsValid() {
			return badPool(i, "a gateway, ip_range or aux_addresses need a subnet beside them")
		}
		if s.NoIPv4 && p.Subnet.Addr().Is4() {
			return badPool(i, fmt.Sprintf("subnet %s is of IPv4, which enable_ipv4 switches off", p.Subnet))
		}
		if j := slices.IndexFunc(s.Pools[:i], func(q Pool) bool { return q.Subnet.Overlaps(p.Subnet) }); j >= 0 {
			return badPool(i, fmt.Sprintf("subnet %s overlaps %s of the same network", p.Subnet, s.Pools[j].Subnet))
		}
		if _, err := ipam.NewPool(p.config(s, o)); err != nil {
			return badPool(i, err.Error())
		}
	}
	return nil
}

// config is the pool as package ipam has it.
func (p Pool) config(s *NetworkSpec, o options) ipam.Config {
	c := ipam.Config{Subnet: p.Subnet, Gateway: p.Gateway, Range: p.Range, None: !s.wantsGateway(o, p.Subnet.Addr().Is4())}
	for _, a := range p.Aux {
		c.Aux = append(c.Aux, a)
	}
	return c
}

// wantsGateway tells whether the network has a gateway unless one is named. Without: nothing leads out of an internal one
// of macvlan and ipvlan, ipvlan routes to the interface itself, and an isolated bridge has no address.
func (s *NetworkSpec) wantsGateway(o options, four bool) bool {
	if s.Driver == driverBridge {
		return o.gatewayMode(four) != portmap.Isolated
	}
	internal := s.Internal || o.parent == ""
	return !internal && (s.Driver != driverIPvlan || o.mode == "l2")
}

func (o options) gatewayMode(four bool) portmap.Mode {
	if four {
		return o.mode4
	}
	return o.mode6
}

// CheckNetworks tells whether networks could be made, all of them, once those with the given ids are gone; nothing is made.
// If not it returns which one is at fault. Their specifications need ids.
func (d *Driver) CheckNetworks(specs []NetworkSpec, leaving []string) (at int, err error) {
	t, err := d.takenPrefixes(append(d.leaving(), leaving...)...)
	if err != nil {
		return 0, err
	}
	for i, spec := range specs {
		if err := check(&spec); err != nil {
			return i, err
		}
		n, err := d.resolve(spec, t)
		if err != nil {
			return i, err
		}
		t.add(n)
	}
	return 0, nil
}

// resolve chooses what the specification leaves open. For the result to hold, the host's lock has to be held.
func (d *Driver) resolve(spec NetworkSpec, t taken) (*network, error) {
	err := t.check(spec)
	if err != nil {
		return nil, err
	}
	if spec.Pools, err = d.completePools(spec, t); err != nil {
		return nil, err
	}
	if spec.MTU == 0 && spec.Bridged() {
		spec.MTU = d.uplinkMTU()
	}
	n, err := newNetwork(Network{NetworkSpec: spec})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if n.Bridged() {
		err = d.chooseBridge(n, t.others)
	} else {
		err = d.chooseParent(n, t.others)
	}
	return n, err
}

// completePools adds a subnet that is free for a family without one.
func (d *Driver) completePools(spec NetworkSpec, t taken) ([]Pool, error) {
	pools := slices.Clone(spec.Pools)
	four, six := families(pools)
	if (spec.NoIPv4 || four) && (!spec.EnableIPv6 || six) {
		return pools, nil
	}
	blocks, err := d.blocks()
	if err != nil {
		return nil, err
	}
	if !spec.NoIPv4 && !four {
		subnet, err := ipam.Subnet(blocks, t.all())
		if err != nil {
			return nil, err
		}
		pools = append(pools, Pool{Subnet: subnet})
	}
	if spec.EnableIPv6 && !six {
		subnet, err := ipam.Subnet6(blocks, d.seed(), t.all())
		if err != nil {
			return nil, err
		}
		pools = append(pools, Pool{Subnet: subnet})
	}
	return pools, nil
}

// seed stands for this engine on this machine, so that others choose other IPv6 prefixes.
func (d *Driver) seed() string {
	id, _ := os.ReadFile("/etc/machine-id") // a machine without one chooses as others like it do
	return string(id) + d.cfg.Instance
}

// families tells which families the pools are of.
func families(pools []Pool) (four, six bool) {
	for _, p := range pools {
		four, six = four || p.Subnet.Addr().Is4(), six || p.Subnet.Addr().Is6()
	}
	return four, six
}

// newNetwork makes the pools of a network whose subnets are chosen, and enters the gateways.
func newNetwork(resolved Network) (*network, error) {
	o, err := parseOptions(&resolved.NetworkSpec)
	if err != nil {
		return nil, err
	}
	n := &network{Network: resolved, opt: o, leaving: map[string]chan struct{}{}}
	if !n.Bridged() && o.parent == "" {
		n.Internal = true // as with Docker: there is nothing at the other end
	}
	n.Pools = slices.Clone(n.Pools)
	for i := range n.Pools {
		p, err := ipam.NewPool(n.Pools[i].config(&n.NetworkSpec, o))
		if err != nil {
			return nil, err
		}
		n.Pools[i].Gateway = p.Gateway()
		n.pools = append(n.pools, p)
	}
	return n, nil
}

func (d *Driver) interfaceName(id string) string { return "tt" + d.cfg.Instance + id[:8] }

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
