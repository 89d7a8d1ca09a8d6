package netdriver

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
)

// with gives a network subnets and options.
func with(subnets []Pool, options ...string) func(*NetworkSpec) {
	return func(s *NetworkSpec) {
		s.Pools, s.Options = subnets, map[string]string{}
		for _, o := range options {
			key, value, _ := strings.Cut(o, "=")
			s.Options[key] = value
		}
	}
}

// routeOutside lets the other machine on the link send to subnets by the host, as a router would.
func (l *lab) routeOutside(subnets ...string) {
	l.t.Helper()
	in(l.t, l.outside, func(h *netlink.Handle) error {
		link, err := h.LinkByName("link")
		for _, s := range subnets {
			p := netip.MustParsePrefix(s)
			by := netip.MustParseAddr(hostIP)
			if p.Addr().Is6() {
				by = netip.MustParseAddr("2001:db8::1")
			}
			err = first(err, h.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(p), Gw: by.AsSlice()}))
		}
		return err
	})
}

// The gateway modes, by who reaches what: port 80 is published, port 81 is not.
func TestGatewayModes(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	l.routeOutside("10.1.0.0/16", "fd01::/16")
	before := l.snapshot()
	d := l.driver()
	plain := l.network(d, "a1", with(pools("10.1.1.0/24", "fd01:1::/64")))
	open := l.network(d, "a2", with(pools("10.1.2.0/24", "fd01:2::/64"), optionMode4+"=nat-unprotected", optionMode6+"=nat-unprotected"))
	routed := l.network(d, "a3", with(pools("10.1.3.0/24", "fd01:3::/64"), optionMode4+"=routed", optionMode6+"=routed"))
	mixed := l.network(d, "a4", with(pools("10.1.4.0/24", "fd01:4::/64"), optionMode6+"=routed"))
	l.serve(l.outside, "outside", 80)
	boxes := map[string]*box{}
	for i, n := range []Network{plain, open, routed, mixed} {
		name := []string{"nat", "open", "routed", "mixed"}[i]
		boxes[name] = l.box(d, name, n)
		l.serve(boxes[name].ns, name, 80)
		l.serve(boxes[name].ns, name, 81)
		ports, err := d.Publish(t.Context(), name, []PortSpec{{HostPort: 8080 + uint16(i), ContainerPort: 80}})
		l.must(err)
		bound := slices.IndexFunc(ports, func(b PortBinding) bool { return b.HostPort != 0 }) >= 0
		if len(ports) != 2 || bound != (name != "routed") {
			t.Errorf("%s: ports %+v", name, ports)
		}
	}
	at := func(name string, six bool, port string) string {
		if six {
			return "[" + boxes[name].at[0].IPv6.Addr().String() + "]:" + port
		}
		return boxes[name].ip(0) + ":" + port
	}
	for _, c := range []struct {
		from, to string
		six      bool
		port     string
		reached  bool
	}{
		{"outside", "nat", false, "80", false},
		{"outside", "nat", true, "80", false},
		{"outside", "open", false, "80", true},
		{"outside", "open", false, "81", true},
		{"outside", "open", true, "81", true},
		{"outside", "routed", false, "80", true},
		{"outside", "routed", false, "81", false},
		{"outside", "routed", true, "80", true},
		{"outside", "routed", true, "81", false},
		{"outside", "mixed", false, "80", false},
		{"outside", "mixed", true, "80", true},
		{"outside", "mixed", true, "81", false},
		{"nat", "open", false, "80", false},
		{"nat", "routed", false, "80", true},
		{"nat", "routed", false, "81", false},
		{"routed", "nat", false, "80", false},
	} {
		from := l.outside
		if c.from != "outside" {
			from = boxes[c.from].ns
		}
		if what := c.from + " to " + c.to; c.reached {
			l.reaches(what, from, "tcp", at(c.to, c.six, c.port), c.to, "")
		} else {
			l.blocked(what, from, "tcp", at(c.to, c.six, c.port))
		}
	}
	l.reaches("out of nat", boxes["nat"].ns, "tcp", outsideIP+":80", "outside", hostIP)
	l.reaches("out of unprotected", boxes["open"].ns, "tcp", outsideIP+":80", "outside", hostIP)
	l.reaches("out of routed", boxes["routed"].ns, "tcp", outsideIP+":80", "outside", boxes["routed"].ip(0))
	l.reaches("out of routed, IPv6", boxes["mixed"].ns, "tcp", "[2001:db8::2]:80", "outside", boxes["mixed"].at[0].IPv6.Addr().String())
	l.reaches("published by nat", l.outside, "tcp", hostIP+":8080", "nat", "")
	l.reaches("published by mixed", l.outside, "tcp", hostIP+":8083", "mixed", "")
	l.blocked("published by routed, at the host", l.outside, "tcp", hostIP+":8082")
	l.removeAll(d)
	l.same(before)
}

// removeAll detaches all containers, removes all networks and waits until that is done.
func (l *lab) removeAll(d *Driver) {
	l.t.Helper()
	d.mu.Lock()
	var ids []string
	for id := range d.containers {
		ids = append(ids, id)
	}
	d.mu.Unlock()
	for _, id := range ids {
		l.must(d.Detach(l.t.Context(), id))
	}
	for _, n := range d.Networks() {
		l.must(d.RemoveNetwork(l.t.Context(), n.ID))
	}
	l.must(d.Flush(l.t.Context()))
}

// Every other option of a bridge, by its effect.
func TestBridgeOptions(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	l.routeOutside("10.2.0.0/16")
	l.inHost(func(h *netlink.Handle) error { return address(h, "uplink", "192.0.2.9/24") })
	before := l.snapshot()
	d := l.driver()
	l.serve(l.outside, "outside", 80)

	apart := l.network(d, "b1", with(pools("10.2.1.0/24"), optionICC+"=false"))
	one, two := l.box(d, "one", apart), l.box(d, "two", apart)
	l.serve(two.ns, "two", 80)
	_, err := d.Publish(t.Context(), "two", []PortSpec{{HostPort: 8080, ContainerPort: 80}})
	l.must(err)
	l.blocked("without communication between containers", one.ns, "tcp", two.ip(0)+":80")
	in(t, one.ns, func(h *netlink.Handle) error { // by the host
		link, err := h.LinkByName("eth0")
		return first(err, h.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(netip.PrefixFrom(two.at[0].IPv4.Addr(), 32)), Gw: apart.Gateway(true).AsSlice()}))
	})
	l.blocked("by the host, without communication between containers", one.ns, "tcp", two.ip(0)+":80")
	l.reaches("a published port, without communication between containers", one.ns, "tcp", hostIP+":8080", "two", "")
	l.reaches("out, without communication between containers", one.ns, "tcp", outsideIP+":80", "outside", hostIP)
	l.reaches("from the host, without communication between containers", l.host, "tcp", two.ip(0)+":80", "two", "")

	plain := l.box(d, "plain", l.network(d, "b2", with(pools("10.2.2.0/24"), optionMasquerade+"=false")))
	l.reaches("without masquerading", plain.ns, "tcp", outsideIP+":80", "outside", plain.ip(0))

	chosen := l.box(d, "chosen", l.network(d, "b3", with(pools("10.2.3.0/24"), optionSource4+"=192.0.2.9")))
	l.reaches("with a chosen address", chosen.ns, "tcp", outsideIP+":80", "outside", "192.0.2.9")

	local := l.box(d, "local", l.network(d, "b4", with(pools("10.2.4.0/24"), optionBinding+"=127.0.0.1", optionTrusted+"=uplink", optionPrefix+"=lan", optionMTU+"=1280")))
	l.serve(local.ns, "local", 80)
	l.serve(local.ns, "local", 81)
	ports, err := d.Publish(t.Context(), "local", []PortSpec{{HostPort: 8081, ContainerPort: 80}})
	if l.must(err); len(ports) != 1 || ports[0].HostIP.String() != "127.0.0.1" {
		t.Errorf("bound to %+v", ports)
	}
	l.reaches("bound to localhost", l.host, "tcp", "127.0.0.1:8081", "local", "")
	l.blocked("bound to localhost", l.outside, "tcp", hostIP+":8081")
	l.reaches("from a trusted interface", l.outside, "tcp", local.ip(0)+":80", "local", outsideIP)
	l.blocked("a port that is not published, from a trusted interface", l.outside, "tcp", local.ip(0)+":81")
	in(t, local.ns, func(h *netlink.Handle) error {
		link, err := h.LinkByName("lan0")
		if err == nil && link.Attrs().MTU != 1280 {
			t.Errorf("the MTU is %d", link.Attrs().MTU)
		}
		return err
	})

	bare := l.network(d, "b5", with(pools("10.2.5.0/24"), optionInhibit+"=true"))
	isolated := l.network(d, "b6", func(s *NetworkSpec) { with(pools("10.2.6.0/24"), optionMode4+"=isolated")(s); s.Internal = true })
	for _, n := range []Network{bare, isolated} {
		a, b := l.box(d, "a"+n.Name, n), l.box(d, "b"+n.Name, n)
		l.serve(b.ns, "b", 80)
		l.reaches("within "+n.Name, a.ns, "tcp", b.ip(0)+":80", "b", a.ip(0))
		if addrs := l.run("ip -4 -br addr show dev " + n.Bridge); strings.Contains(addrs, "10.2.") {
			t.Errorf("the bridge has an address: %s", addrs)
		}
		l.blocked("the host of "+n.Name, l.host, "tcp", b.ip(0)+":80")
	}
	if bare.Gateway(true).String() != "10.2.5.1" || isolated.Gateway(true).IsValid() {
		t.Errorf("gateways %s and %s", bare.Gateway(true), isolated.Gateway(true))
	}
	l.removeAll(d)
	l.same(before)
}

// A bridge with a name of the user's: made and removed, found again after a crash, and one that the user has made left as
// it was.
func TestNamedBridge(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	l.inHost(func(h *netlink.Handle) error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = "lan0"
		return first(h.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}), address(h, "lan0", "10.3.9.1/24"))
	})
	before := l.snapshot()
	d := l.driver()
	l.serve(l.outside, "outside", 80)
	mine := l.network(d, "c1", with(pools("10.3.1.0/24"), optionBridge+"=office"))
	theirs := l.network(d, "c2", with(pools("10.3.9.0/24", "fd03::/64"), optionBridge+"=lan0"))
	if mine.Bridge != "office" || !mine.Own || theirs.Bridge != "lan0" || theirs.Own {
		t.Errorf("bridges %+v, %+v", mine, theirs)
	}
	for want, options := range map[string]string{
		"network c1 has the bridge office": "office", "it is no bridge but of type veth": "uplink", "too long": "sixteen-letters-", "no name": "a/b",
	} {
		_, err := d.CreateNetwork(t.Context(), NetworkSpec{ID: "ffffffff00", Name: "other", Options: map[string]string{optionBridge: options}})
		if bad := (*SpecError)(nil); !errors.As(err, &bad) || bad.Path[1] != optionBridge || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "network other") {
			t.Errorf("%s: %v, want %q", options, err, want)
		}
	}
	check := func(when string, boxes ...*box) {
		t.Helper()
		for i, b := range boxes {
			l.reaches("out, "+when, b.ns, "tcp", outsideIP+":80", "outside", hostIP)
			l.blocked("to another network, "+when, b.ns, "tcp", boxes[1-i].ip(0)+":80")
		}
	}
	one, two := l.box(d, "one", mine), l.box(d, "two", theirs)
	l.serve(one.ns, "one", 80)
	l.serve(two.ns, "two", 80)
	check("at first", one, two)
	l.crash(d)
	d = l.newDriver()
	l.must(d.Restore(t.Context(), map[string][]Endpoint{"one": one.at, "two": two.at}, nil))
	check("after a crash", one, two)
	l.removeAll(d)
	l.same(before)

	// What a crash has left between making it and remembering it is known by its mark.
	l.network(d, "c1", with(pools("10.3.1.0/24"), optionBridge+"=office"))
	l.must(removeRecords(d))
	l.crash(d)
	d = l.driver()
	l.must(d.Flush(t.Context()))
	l.same(before)
}
