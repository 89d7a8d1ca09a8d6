package netdriver

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tutti/netdriver/ipam"
	"tutti/netdriver/netns"
)

func TestCreateNetworkRefuses(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	before := l.snapshot()
	d := l.driver()
	for _, c := range []struct {
		spec NetworkSpec
		want string
	}{
		{NetworkSpec{ID: "abc"}, "id"},
		{NetworkSpec{ID: "../../../etc"}, "id"},
		{NetworkSpec{Driver: "weave"}, `driver "weave" is not there`},
		{NetworkSpec{Options: map[string]string{optionMTU: "big"}}, "big"},
		{NetworkSpec{MTU: 10}, "MTU"},
		{NetworkSpec{Pools: pools("192.0.2.0/25")}, "overlaps 192.0.2.0/24 of interface uplink"},
		{NetworkSpec{Pools: pools("10.1.0.0/31")}, "no room"},
		{NetworkSpec{Pools: []Pool{{Subnet: netip.MustParsePrefix("10.1.0.0/24"), Gateway: netip.MustParseAddr("10.2.0.1")}}}, "gateway"},
	} {
		c.spec.Name = "net"
		if c.spec.ID == "" {
			c.spec.ID = "0123456789"
		}
		if _, err := d.CreateNetwork(t.Context(), c.spec); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "network net") {
			t.Errorf("%+v: got %v, want %q", c.spec, err, c.want)
		}
	}
	l.must(d.Flush(t.Context()))
	l.same(before)
}

// A network that is being removed is in nobody's way: who comes in its place passes the check, and waits.
func TestNetworkAfterAnother(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	before := l.snapshot()
	d := l.driver()
	first := NetworkSpec{ID: "0123456789", Name: "first", Pools: pools("10.9.0.0/16")}
	other := NetworkSpec{ID: "9876543210", Name: "other", Pools: pools("10.9.0.0/16")}
	for i := range 10 {
		spec := []NetworkSpec{first, first, other}[i%3]
		if _, err := d.CheckNetworks([]NetworkSpec{spec}, nil); err != nil {
			t.Errorf("check of round %d: %v", i, err)
		}
		if _, err := d.CreateNetwork(t.Context(), spec); err != nil {
			t.Errorf("round %d: %v", i, err)
		}
		l.must(d.RemoveNetwork(t.Context(), spec.ID))
	}
	l.must(d.Flush(t.Context()))
	l.same(before)
}

func TestCreateNetwork(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	before := l.snapshot()
	d := l.driver()
	net := l.network(d, "net", nil)
	again := l.network(d, "net", func(s *NetworkSpec) { s.Pools = pools("10.9.0.0/16") })
	if again.Bridge != net.Bridge || again.Gateway(true) != net.Gateway(true) || net.MTU != uplinkMTU {
		t.Errorf("%+v is made again as %+v", net, again)
	}
	_, err := d.CreateNetwork(t.Context(), NetworkSpec{ID: "fedcba9876", Name: "other", Pools: pools("172.18.3.0/24")})
	if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "172.18.0.0/16 of ") {
		t.Errorf("overlapping networks: %v", err)
	}
	own := l.network(d, "own", func(s *NetworkSpec) {
		s.Pools = pools("10.9.0.0/24", "fd00:9::/64")
		s.Pools[0].Gateway, s.Pools[0].Range = netip.MustParseAddr("10.9.0.254"), netip.MustParsePrefix("10.9.0.64/26")
		s.Pools[0].Aux = map[string]netip.Addr{"router": netip.MustParseAddr("10.9.0.64")}
		s.Options = map[string]string{optionMTU: "1300"}
	})
	box := l.box(d, "box", own)
	if got := box.at[0]; got.IPv4.String() != "10.9.0.65/24" || got.IPv6.String() != "fd00:9::2/64" || got.Gateway != own.Gateway(true) || got.MAC.String() != "02:42:0a:09:00:41" {
		t.Errorf("endpoint %+v", got)
	}
	in(t, box.ns, func(h *netlink.Handle) error {
		link, err := h.LinkByName("eth0")
		if err == nil && (link.Attrs().MTU != 1300 || link.Attrs().HardwareAddr.String() != "02:42:0a:09:00:41" || link.Attrs().NumTxQueues != 1) {
			t.Errorf("link %+v", link.Attrs())
		}
		// Duplicate address detection would take a second: they are told not to.
		for deadline := time.Now().Add(2 * time.Minute); err == nil; {
			addrs, failure := h.AddrList(link, netlink.FAMILY_V6)
			ready := !slices.ContainsFunc(addrs, func(a netlink.Addr) bool { return a.Flags&unix.IFA_F_TENTATIVE != 0 })
			if !ready && failure == nil && time.Now().Before(deadline) {
				continue
			}
			detecting := func(a netlink.Addr) bool { return a.IP.IsGlobalUnicast() && a.Flags&unix.IFA_F_NODAD == 0 }
			if !ready || len(addrs) == 0 || slices.ContainsFunc(addrs, detecting) {
				t.Errorf("addresses that cannot be used at once: %v", addrs)
			}
			return failure
		}
		return err
	})
	if err := d.RemoveNetwork(t.Context(), own.ID); !errors.Is(err, ErrNetworkInUse) || !strings.Contains(err.Error(), "box") {
		t.Errorf("a network in use: %v", err)
	}
	l.must(d.Detach(t.Context(), "box"))
	// Made again while it is being removed: it waits, and is there.
	for range 5 {
		l.must(d.RemoveNetwork(t.Context(), own.ID))
		own = l.network(d, "own", func(s *NetworkSpec) { s.Pools = pools("10.9.0.0/24") })
	}
	in(t, l.host, func(h *netlink.Handle) error { _, err := h.LinkByName(own.Bridge); return err })
	for _, n := range d.Networks() {
		l.must(d.RemoveNetwork(t.Context(), n.ID))
	}
	l.must(d.Flush(t.Context()))
	l.same(before)
}

// Several engines of one host choose at the same time, and leave in any order.
func TestTwoEngines(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	before := l.snapshot()
	var drivers []*Driver
	for _, instance := range []string{"ab12", "cd34"} {
		l.config.Instance, l.config.StateDir = instance, t.TempDir()
		drivers = append(drivers, l.driver())
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	chosen := map[netip.Prefix]string{}
	for e, d := range drivers {
		for i := range 8 {
			wg.Go(func() {
				id := fmt.Sprintf("%08x", i)
				n, err := d.CreateNetwork(t.Context(), NetworkSpec{ID: id, Name: id})
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Error(err)
				} else if other, taken := chosen[n.Subnets()[0]]; taken {
					t.Errorf("%s was chosen by %s and by engine %d", n.Subnets()[0], other, e)
				} else {
					chosen[n.Subnets()[0]] = fmt.Sprint("engine ", e)
				}
			})
		}
	}
	wg.Wait()
	a := l.box(drivers[0], "a", drivers[0].Networks()[0])
	b := l.box(drivers[1], "b", drivers[1].Networks()[0])
	l.serve(a.ns, "a", 80)
	l.serve(b.ns, "b", 80)
	l.serve(l.outside, "outside", 80)
	l.blocked("another engine's network", a.ns, "tcp", b.ip(0)+":80")
	l.blocked("another engine's network, other way", b.ns, "tcp", a.ip(0)+":80")
	l.must(drivers[0].Detach(t.Context(), "a"))
	l.must(drivers[1].Detach(t.Context(), "b"))
	for i, d := range drivers {
		if i == 1 {
			b = l.box(d, "b2", d.Networks()[1])
			l.reaches("outside, after another engine has left", b.ns, "tcp", outsideIP+":80", "outside", hostIP)
			l.must(d.Detach(t.Context(), "b2"))
		}
		for _, n := range d.Networks() {
			l.must(d.RemoveNetwork(t.Context(), n.ID))
		}
		l.must(d.Flush(t.Context()))
	}
	l.same(before)
}

// Docker comes after us, finds that the host forwards, and relies on it.
func TestForwardingStaysOnForDocker(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	d := l.driver()
	forwarding := func() string { return strings.TrimSpace(l.run("cat /proc/sys/net/ipv4/ip_forward")) }
	for want, comes := range []bool{false, true} {
		n := l.network(d, "net", nil)
		if forwarding() != "1" {
			t.Error("the host does not forward")
		}
		if comes {
			l.run("ip link add docker0 type bridge")
		}
		l.must(d.RemoveNetwork(t.Context(), n.ID))
		l.must(d.Flush(t.Context()))
		if got := forwarding(); got != fmt.Sprint(want) {
			t.Errorf("docker has come: %t; forwarding is %s", comes, got)
		}
	}
}

func TestAttach(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	d := l.driver()
	net, other := l.network(d, "net", nil), l.network(d, "other", nil)
	box := l.box(d, "box", net, other)
	again, err := d.Attach(t.Context(), "box", box.ns, []EndpointSpec{{NetworkID: net.ID}})
	if err != nil || again[0].IPv4 != box.at[0].IPv4 || box.at[1].Interface != "eth1" {
		t.Errorf("attached twice: %+v, %v, before %+v", again, err, box.at)
	}

	ns, err := netns.New()
	l.must(err)
	defer ns.Close()
	attach := func(specs ...EndpointSpec) error {
		for i := range specs {
			specs[i].Name = "fails"
		}
		_, err := d.Attach(t.Context(), "fails", ns, specs)
		return err
	}
	if err := attach(EndpointSpec{NetworkID: "cafe"}); !errors.Is(err, ErrNetworkNotFound) || !strings.Contains(err.Error(), "cafe") {
		t.Errorf("unknown network: %v", err)
	}
	taken := EndpointSpec{NetworkID: other.ID, IPv4: box.at[1].IPv4.Addr()}
	if err := attach(EndpointSpec{NetworkID: net.ID}, taken); !errors.Is(err, ipam.ErrTaken) || !strings.Contains(err.Error(), "by container box") {
		t.Errorf("an address that is taken: %v", err)
	}
	if err := attach(EndpointSpec{NetworkID: net.ID, IPv4: netip.MustParseAddr("1.2.3.4")}); !errors.Is(err, ipam.ErrOutside) || !strings.Contains(err.Error(), "network net") {
		t.Errorf("an address from elsewhere: %v", err)
	}
	if err := attach(EndpointSpec{NetworkID: net.ID, IPv6: netip.MustParseAddr("fd00::1")}); !errors.Is(err, ErrInvalid) {
		t.Errorf("IPv6 without IPv6: %v", err)
	}
	l.must(d.Flush(t.Context()))
	in(t, ns, func(h *netlink.Handle) error {
		links, err := h.LinkList()
		if len(links) != 1 {
			t.Errorf("failed attachments left %d links", len(links))
		}
		return err
	})

	// Off one network of two, and on again with the same address: nothing else is disturbed.
	l.serve(box.ns, "box", 80)
	peer := l.box(d, "peer", net)
	l.must(d.Detach(t.Context(), "box", other.ID))
	l.reaches("the network that stays", peer.ns, "tcp", box.ip(0)+":80", "box", peer.ip(0))
	back, err := d.Attach(t.Context(), "box", box.ns, []EndpointSpec{{NetworkID: other.ID, Name: "box", MAC: []byte{2, 0, 0, 0, 0, 1}, Interface: "back0"}})
	if err != nil || back[0].IPv4 != box.at[1].IPv4 || back[0].Interface != "back0" || back[0].MAC.String() != "02:00:00:00:00:01" {
		t.Errorf("attached again: %+v, %v", back, err)
	}
	neighbour := l.box(d, "neighbour", other)
	l.reaches("the network again", neighbour.ns, "tcp", box.ip(1)+":80", "box", "")
}

// A container is restarted: a new namespace, the same address, while the old one goes.
func TestRestart(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	d := l.driver()
	net := l.network(d, "net", nil)
	box, peer := l.box(d, "box", net), l.box(d, "peer", net)
	for range 5 {
		l.must(d.Detach(t.Context(), "box"))
		next := l.box(d, "box", net)
		if next.ip(0) != box.ip(0) {
			t.Fatalf("restarted with %s, had %s", next.ip(0), box.ip(0))
		}
		l.serve(next.ns, "box", 80)
		l.reaches("restarted", peer.ns, "tcp", next.ip(0)+":80", "box", peer.ip(0))
	}
}

// One bridge connects 1,023 containers; the next is refused, and works elsewhere.
func TestNetworkFull(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	d := l.driver()
	net := l.network(d, "net", nil)
	ns, err := netns.New()
	l.must(err)
	defer ns.Close()
	start := time.Now()
	for i := range maxPorts {
		_, err := d.Attach(t.Context(), fmt.Sprint(i), ns, []EndpointSpec{{NetworkID: net.ID, Interface: fmt.Sprint("if", i)}})
		l.must(err)
	}
	t.Logf("%d attached in %s", maxPorts, time.Since(start))
	links := func() int { return strings.Count(l.run("ip -br link"), "\n") }
	before := links()
	_, err = d.Attach(t.Context(), "last", ns, []EndpointSpec{{NetworkID: net.ID, Interface: "last"}})
	if now := links(); now != before {
		t.Errorf("%d links before one too many, %d after", before, now)
	}
	if !errors.Is(err, ErrNetworkFull) || !strings.Contains(err.Error(), "second network") {
		t.Errorf("one too many: %v", err)
	}
	for i := range maxPorts {
		l.must(d.Detach(t.Context(), fmt.Sprint(i)))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	l.must(d.Flush(ctx))
}

// IPv6: within, out with the host's address, and published without a proxy.
func TestIPv6(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	before := l.snapshot()
	d := l.driver()
	net := l.network(d, "net", func(s *NetworkSpec) { s.EnableIPv6 = true })
	other := l.network(d, "other", func(s *NetworkSpec) { s.EnableIPv6 = true })
	box, peer, far := l.box(d, "box", net), l.box(d, "peer", net), l.box(d, "far", other)
	l.serve(box.ns, "box", 80)
	l.serve(l.outside, "outside", 80)
	server := netip.AddrPortFrom(box.at[0].IPv6.Addr(), 80).String()
	_, err := d.Publish(t.Context(), "box", []PortSpec{{HostPort: 80, ContainerPort: 80}, {Proto: "udp", HostPort: 80, ContainerPort: 80}})
	l.must(err)
	for _, p := range []string{"tcp", "udp"} {
		l.reaches("same network", peer.ns, p, server, "box", peer.at[0].IPv6.Addr().String())
		l.blocked("other network", far.ns, p, server)
		l.blocked("unpublished from outside", l.outside, p, server)
		l.reaches("outside", peer.ns, p, "[2001:db8::2]:80", "outside", "2001:db8::1")
		l.reaches("port from outside", l.outside, p, "[2001:db8::1]:80", "box", "2001:db8::2")
		l.reaches("port from the host", l.host, p, "[2001:db8::1]:80", "box", "2001:db8::1")
		l.reaches("port from localhost", l.host, p, "[::1]:80", "box", "")
		l.reaches("own port", box.ns, p, "[2001:db8::1]:80", "box", net.Gateway(false).String())
		l.reaches("port, IPv4", l.outside, p, hostIP+":80", "box", outsideIP)
	}
	for _, name := range []string{"box", "peer", "far"} {
		l.must(d.Detach(t.Context(), name))
	}
	for _, n := range d.Networks() {
		l.must(d.RemoveNetwork(t.Context(), n.ID))
	}
	l.must(d.Flush(t.Context()))
	l.same(before)
}
