//go:build modules

package netdriver

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
)

// What needs a kernel with ipvlan, VLANs and interfaces of type dummy, as Debian's has them: samples/guest runs these tests
// in a machine of its own.

// ipvlan's modes on real hosts that a switch joins.
func TestIPvlanModes(t *testing.T) {
	hosts, _ := newLAN(t, 2)
	l, other := hosts[0], hosts[1]
	other.serve(other.host, "machine", 80)
	// In layer 3 modes nobody answers ARP for containers: the network has to know the way.
	in(t, other.host, func(h *netlink.Handle) error {
		link, err := h.LinkByName("lan")
		return first(err, h.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(netip.MustParsePrefix("10.5.0.0/16")), Gw: netip.MustParseAddr("198.18.0.1").AsSlice()}))
	})
	before := l.snapshot()
	d := l.driver()
	for _, c := range []struct {
		mode, flag string
		neighbour  bool
	}{{"l2", "bridge", true}, {"l2", "private", false}, {"l3", "", true}, {"l3s", "", true}} {
		what := c.mode + " " + c.flag
		options := []string{optionIPvlan + "=" + c.mode}
		if c.flag != "" {
			options = append(options, optionFlag+"="+c.flag)
		}
		n := l.network(d, "a1", func(s *NetworkSpec) {
			with(pools("10.5.1.0/24", "10.5.2.0/24"), append(options, optionParent+"=lan")...)(s)
			s.Driver, s.Pools[0].Range = driverIPvlan, netip.MustParsePrefix("10.5.1.8/31")
			if c.mode == "l2" {
				s.Pools = []Pool{{Subnet: netip.MustParsePrefix("198.18.0.0/24"), Range: netip.MustParsePrefix("198.18.0.16/28"), Gateway: netip.MustParseAddr("198.18.0.254")}}
			}
		})
		if wants := c.mode == "l2"; n.Gateway(true).IsValid() != wants {
			t.Errorf("%s: gateway %s", what, n.Gateway(true))
		}
		one, two := l.box(d, "one", n), l.box(d, "two", n)
		l.serve(two.ns, "two", 80)
		if c.neighbour {
			l.reaches(what, one.ns, "tcp", two.ip(0)+":80", "two", one.ip(0))
		} else {
			l.blocked(what, one.ns, "tcp", two.ip(0)+":80")
		}
		l.reaches(what+" to a machine", one.ns, "tcp", "198.18.0.2:80", "machine", one.ip(0))
		l.reaches(what+" from a machine", other.host, "udp", two.ip(0)+":80", "two", "198.18.0.2")
		l.blocked(what+" from its own host", l.host, "tcp", two.ip(0)+":80")
		in(t, l.host, func(h *netlink.Handle) error {
			parent, err := h.LinkByName("lan")
			if one.at[0].MAC.String() != parent.Attrs().HardwareAddr.String() {
				t.Errorf("%s: address %s", what, one.at[0].MAC)
			}
			return err
		})
		if c.mode == "l3" { // the first subnet's range is full: the next container is in the second, and they know the way
			three := l.box(d, "three", n)
			l.reaches("another subnet of the network", three.ns, "tcp", two.ip(0)+":80", "two", three.ip(0))
			if !strings.HasPrefix(three.ip(0), "10.5.2.") {
				t.Errorf("the third container has %s", three.ip(0))
			}
		}
		_, err := d.CreateNetwork(t.Context(), NetworkSpec{ID: "fedcba9876", Name: "other", Driver: driverIPvlan, Options: map[string]string{optionParent: "lan", optionFlag: "vepa"}})
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "another mode") {
			t.Errorf("%s: another mode on the same parent: %v", what, err)
		}
		l.removeAll(d)
		l.same(before)
	}
}

// A VLAN is made on its parent, shared by networks, carries tagged traffic, and goes with the last of them.
func TestVLAN(t *testing.T) {
	hosts, _ := newLAN(t, 2)
	l, other := hosts[0], hosts[1]
	in(t, other.host, func(h *netlink.Handle) error {
		lan, err := h.LinkByName("lan")
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.ParentIndex = "tagged", lan.Attrs().Index
		return first(err, h.LinkAdd(&netlink.Vlan{LinkAttrs: attrs, VlanId: 10, VlanProtocol: netlink.VLAN_PROTOCOL_8021Q}),
			address(h, "tagged", "10.6.0.2/24"), up(h, "tagged"))
	})
	other.serve(other.host, "machine", 80)
	before := l.snapshot()
	d := l.driver()
	first := l.network(d, "a1", func(s *NetworkSpec) {
		with(pools("10.6.0.0/24"), optionParent+"=lan.10")(s)
		s.Driver, s.Pools[0].Range = driverMacvlan, netip.MustParsePrefix("10.6.0.16/28")
	})
	second := l.network(d, "a2", func(s *NetworkSpec) {
		with(pools("10.6.9.0/24"), optionParent+"=lan.10")(s)
		s.Driver = driverMacvlan
	})
	if !first.Own || !second.Own || first.Bridge != "lan.10" {
		t.Errorf("networks %+v, %+v", first, second)
	}
	box := l.box(d, "box", first)
	l.reaches("tagged", box.ns, "tcp", "10.6.0.2:80", "machine", box.ip(0))
	l.blocked("not tagged", box.ns, "tcp", "198.18.0.2:80")
	if link := l.run("ip -d link show lan.10"); !strings.Contains(link, "id 10") || !strings.Contains(link, "tutti ab11") {
		t.Errorf("the VLAN's interface: %s", link)
	}
	l.must(d.Detach(t.Context(), "box"))
	l.must(d.RemoveNetwork(t.Context(), first.ID))
	l.must(d.Flush(t.Context()))
	l.crash(d)
	d = l.newDriver()
	l.must(d.Restore(t.Context(), nil, nil))
	l.must(d.Flush(t.Context()))
	if links := l.run("ip -br link"); !strings.Contains(links, "lan.10") {
		t.Errorf("the second network has lost its parent: %s", links)
	}
	l.removeAll(d)
	l.same(before)
}

// Without a parent containers reach each other and nobody else.
func TestNoParent(t *testing.T) {
	hosts, _ := newLAN(t, 1)
	l := hosts[0]
	before := l.snapshot()
	d := l.driver()
	for _, driver := range []string{driverMacvlan, driverIPvlan} {
		n := l.network(d, "a1", func(s *NetworkSpec) { s.Driver = driver; s.EnableIPv6 = true })
		if !n.Internal || !strings.HasPrefix(n.Bridge, "ttab11") || slices.ContainsFunc(n.Pools, func(p Pool) bool { return p.Gateway.IsValid() }) {
			t.Errorf("%s: %+v", driver, n)
		}
		one, two := l.box(d, "one", n), l.box(d, "two", n)
		l.serve(two.ns, "two", 80)
		l.reaches(driver, one.ns, "tcp", two.ip(0)+":80", "two", one.ip(0))
		l.reaches(driver+", IPv6", one.ns, "tcp", fmt.Sprintf("[%s]:80", two.at[0].IPv6.Addr()), "two", "")
		l.blocked(driver+" to the host", one.ns, "tcp", "198.18.0.1:80")
		l.crash(d)
		d = l.newDriver()
		for _, b := range []*box{one, two} {
			b.at[0].Namespace = b.ns.Path()
		}
		l.must(d.Restore(t.Context(), map[string][]Endpoint{"one": one.at, "two": two.at}, nil))
		l.reaches(driver+" after a crash", one.ns, "tcp", two.ip(0)+":80", "two", one.ip(0))
		l.removeAll(d)
		l.same(before)
	}
}
