package netdriver

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"tutti/netdriver/netns"
)

// macvlan's modes between containers of one host, on real hosts that a switch joins.
func TestMacvlanModes(t *testing.T) {
	t.Parallel()
	hosts, ports := newLAN(t, 2)
	l, other := hosts[0], hosts[1]
	other.serve(other.host, "machine", 80)
	far := other.driver()
	away := other.box(far, "away", other.lanNetwork(far, "a1", driverMacvlan))
	other.serve(away.ns, "away", 80)
	before := l.snapshot()
	d := l.driver()
	hairpin := func(on bool) {
		in(t, ports, func(h *netlink.Handle) error {
			p, err := h.LinkByName("p1")
			return first(err, h.LinkSetHairpin(p, on))
		})
	}
	for _, c := range []struct {
		mode              string
		neighbour, turned bool // reaches its neighbour; when the switch sends back what comes from there
	}{{"bridge", true, true}, {"private", false, false}, {"vepa", false, true}} {
		n := l.lanNetwork(d, "a1", driverMacvlan, optionMacvlan+"="+c.mode)
		if n.Bridge != "lan" || n.Own || n.Bridged() {
			t.Errorf("%s: %+v", c.mode, n)
		}
		one, two := l.box(d, "one", n), l.box(d, "two", n)
		l.serve(two.ns, "two", 80)
		for _, turns := range []bool{false, true} {
			hairpin(turns)
			what := c.mode + " to its neighbour"
			if c.neighbour || turns && c.turned {
				l.reaches(what, one.ns, "tcp", two.ip(0)+":80", "two", one.ip(0))
			} else {
				l.blocked(what, one.ns, "tcp", two.ip(0)+":80")
			}
		}
		hairpin(false)
		l.reaches(c.mode+" to a machine", one.ns, "tcp", "198.18.0.2:80", "machine", one.ip(0))
		l.reaches(c.mode+" to a container of another host", one.ns, "udp", away.ip(0)+":80", "away", one.ip(0))
		l.reaches(c.mode+" from another host", other.host, "tcp", two.ip(0)+":80", "two", "198.18.0.2")
		l.blocked(c.mode+" from its own host", l.host, "tcp", two.ip(0)+":80")
		if one.at[0].MAC.String() != macOf(one.at[0].IPv4.Addr()).String() {
			t.Errorf("%s: address %s", c.mode, one.at[0].MAC)
		}
		ports, err := d.Publish(t.Context(), "two", []PortSpec{{HostPort: 80, ContainerPort: 80}})
		if err != nil || len(ports) > 0 || !strings.Contains(l.log.String(), "no bridge network that leads out") {
			t.Errorf("%s: ports %v, %v, %s", c.mode, ports, err, l.log)
		}
		l.removeAll(d)
		l.same(before)
	}
}

// passthru gives the parent to one container. A link that only the container's namespace knows goes when it is detached,
// also by an engine that has not made it.
func TestMacvlanLife(t *testing.T) {
	t.Parallel()
	hosts, _ := newLAN(t, 2)
	l, other := hosts[0], hosts[1]
	other.serve(other.host, "machine", 80)
	before := l.snapshot()
	d := l.driver()
	_, err := d.CreateNetwork(t.Context(), NetworkSpec{ID: "fedcba9876", Name: "other", Driver: driverMacvlan, Options: map[string]string{optionParent: "lan", optionMTU: "9000"}})
	if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "more than that of the parent lan") {
		t.Errorf("a large MTU: %v", err)
	}
	n := l.lanNetwork(d, "a1", driverMacvlan, optionMacvlan+"=passthru")
	one := l.box(d, "one", n)
	l.reaches("passthru", one.ns, "tcp", "198.18.0.2:80", "machine", one.ip(0))
	ns, err := netns.New()
	l.must(err)
	defer ns.Close()
	if _, err := d.Attach(t.Context(), "two", ns, []EndpointSpec{{NetworkID: n.ID, Name: "two"}}); !errors.Is(err, ErrNetworkFull) || !strings.Contains(err.Error(), "two") {
		t.Errorf("a second container: %v", err)
	}
	l.must(d.Detach(t.Context(), "one"))
	two := l.box(d, "two", n) // waits for it
	l.reaches("the next one", two.ns, "tcp", "198.18.0.2:80", "machine", two.ip(0))
	for want, change := range map[string]func(*NetworkSpec){
		"needs one for itself":                func(*NetworkSpec) {},
		"cannot be that of ipvlan too":        func(s *NetworkSpec) { s.Driver = driverIPvlan },
		"the host has no interface nic":       func(s *NetworkSpec) { s.Options[optionParent] = "nic" },
		"no nic to make that VLAN of":         func(s *NetworkSpec) { s.Options[optionParent] = "nic.10" },
		"no name for a VLAN":                  func(s *NetworkSpec) { s.Options[optionParent] = "lan.5000" },
		"loopback":                            func(s *NetworkSpec) { s.Options[optionParent] = "lo" },
		"none of bridge, private":             func(s *NetworkSpec) { s.Options[optionMacvlan] = "fast" },
		"subnet 198.18.0.0/24 overlaps":       func(s *NetworkSpec) { s.Options[optionParent] = "lan"; s.Pools = n.Pools },
		"IPv4 or IPv6 must be enabled":        func(s *NetworkSpec) { s.Driver, s.NoIPv4 = driverBridge, true },
		"with macvlan containers have the ad": nil,
	} {
		spec := NetworkSpec{ID: "fedcba9876", Name: "other", Driver: driverMacvlan, Options: map[string]string{optionParent: "lan"}}
		if change == nil {
			_, err = d.Attach(t.Context(), "three", ns, []EndpointSpec{{NetworkID: n.ID, MAC: macFrom("three")}})
		} else {
			change(&spec)
			_, err = d.CreateNetwork(t.Context(), spec)
		}
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", spec, err, want)
		}
	}
	l.crash(d)
	d = l.newDriver()
	two.at[0].Namespace = two.ns.Path()
	l.must(d.Restore(t.Context(), map[string][]Endpoint{"two": two.at}, nil))
	l.reaches("after a crash", two.ns, "tcp", "198.18.0.2:80", "machine", two.ip(0))
	l.must(d.Detach(t.Context(), "two", n.ID))
	l.must(d.Flush(t.Context()))
	in(t, two.ns, func(h *netlink.Handle) error {
		links, err := h.LinkList()
		if len(links) != 1 {
			t.Errorf("a detached container has %d links", len(links))
		}
		return err
	})
	l.removeAll(d)
	l.same(before)
}

// Without addresses of ours: a container gets them itself, by DHCP say.
func TestMacvlanWithoutAddresses(t *testing.T) {
	t.Parallel()
	hosts, _ := newLAN(t, 2)
	l, other := hosts[0], hosts[1]
	other.serve(other.host, "machine", 80)
	d := l.driver()
	bare := func(s *NetworkSpec) {
		s.Driver, s.Options, s.IPAM = driverMacvlan, map[string]string{optionParent: "lan"}, "null"
	}
	box := l.box(d, "box", l.network(d, "a1", bare))
	if at := box.at[0]; at.IPv4.IsValid() || at.IPv6.IsValid() || len(at.MAC) != 6 {
		t.Errorf("endpoint %+v", at)
	}
	in(t, box.ns, func(h *netlink.Handle) error { return address(h, "eth0", "198.18.0.77/24") })
	l.reaches("with an address of its own", box.ns, "tcp", "198.18.0.2:80", "machine", "198.18.0.77")
	_, err := d.CreateNetwork(t.Context(), NetworkSpec{ID: "0123456789", Name: "bridge", IPAM: "null"})
	if !errors.Is(err, ErrInvalid) {
		t.Errorf("a bridge without addresses: %v", err)
	}
	_, err = d.Attach(t.Context(), "asks", box.ns, []EndpointSpec{{NetworkID: box.at[0].NetworkID, Interface: "eth9", IPv4: netip.MustParseAddr("198.18.0.9")}})
	if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "no IPv4") {
		t.Errorf("an address where there are none: %v", err)
	}
}
