package netdriver

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"

	"tutti/netdriver/ipam"
	"tutti/netdriver/netns"
)

// Hundreds of networks find subnets that are free, whatever routes the host has: in its main table, in those of policy
// routing, and some that appear between two networks.
func TestHundredsOfNetworks(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	route := func(table int, dst string) {
		l.inHost(func(h *netlink.Handle) error {
			return h.RouteAdd(&netlink.Route{Table: table, Dst: ipNet(netip.MustParsePrefix(dst)), Gw: net.ParseIP(outsideIP)})
		})
	}
	route(254, "172.20.0.0/14") // of a VPN
	route(77, "172.24.0.0/14")
	before := l.snapshot()
	d := l.driver()
	routes := []string{"172.20.0.0/14", "172.24.0.0/14"}
	var mu sync.Mutex
	chosen := map[netip.Prefix]string{}
	create := func(from, to int) {
		var wg sync.WaitGroup
		work := make(chan int)
		for range 32 {
			wg.Go(func() {
				for i := range work {
					n, err := d.CreateNetwork(t.Context(), NetworkSpec{ID: fmt.Sprintf("%08x", i), Name: fmt.Sprint("net", i)})
					mu.Lock()
					switch {
					case err != nil:
						t.Error(err)
					case chosen[n.Subnets()[0]] != "":
						t.Errorf("%s has the subnet of %s", n.Name, chosen[n.Subnets()[0]])
					default:
						chosen[n.Subnets()[0]] = n.Name
						for _, r := range routes {
							if netip.MustParsePrefix(r).Overlaps(n.Subnets()[0]) {
								t.Errorf("%s has %s, and there is a route to %s", n.Name, n.Subnets()[0], r)
							}
						}
					}
					mu.Unlock()
				}
			})
		}
		for i := range to - from {
			work <- from + i
		}
		close(work)
		wg.Wait()
	}
	create(0, 20)
	route(254, "10.0.0.0/12")
	routes = append(routes, "10.0.0.0/12")
	create(20, 300)
	if len(chosen) != 300 {
		t.Errorf("%d networks", len(chosen))
	}
	l.removeAll(d)
	l.inHost(func(h *netlink.Handle) error {
		return h.RouteDel(&netlink.Route{Dst: ipNet(netip.MustParsePrefix("10.0.0.0/12")), Gw: net.ParseIP(outsideIP)})
	})
	l.same(before)
}

// A subnet without a free address says whose it is and what to do; nothing is made for who asks in vain.
func TestSubnetFull(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	d := l.driver()
	n := l.network(d, "1a", func(s *NetworkSpec) { s.Pools = pools("10.8.0.0/29", "10.8.9.0/30") })
	for i := range 6 { // five in the first subnet, one in the second
		b := l.box(d, fmt.Sprint("box", i), n)
		if wants := i == 5; strings.HasPrefix(b.ip(0), "10.8.9.") != wants || b.at[0].Gateway.String() != map[bool]string{false: "10.8.0.1", true: "10.8.9.1"}[wants] {
			t.Errorf("container %d has %+v", i, b.at[0])
		}
	}
	const names = "ip -br link | cut -d' ' -f1" // not their state, which the kernel brings up to date in its own time
	links := l.run(names)
	ns, err := netns.New()
	l.must(err)
	defer ns.Close()
	_, err = d.Attach(t.Context(), "late", ns, []EndpointSpec{{NetworkID: n.ID, Name: "late"}})
	if !errors.Is(err, ipam.ErrExhausted) || !strings.Contains(err.Error(), "attach late to network 1a") || !strings.Contains(err.Error(), "larger ipam.config.subnet") {
		t.Errorf("a full subnet: %v", err)
	}
	if now := l.run(names); now != links {
		t.Errorf("links before\n%s\nand after\n%s", links, now)
	}
}
