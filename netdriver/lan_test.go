package netdriver

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"tutti/netdriver/netns"
)

// newLAN makes hosts that a switch joins: each has an interface "lan" with 198.18.0.<n>/24, from 1. The switch is a bridge
// in a namespace of its own, with a port p<n> for each.
func newLAN(t *testing.T, n int) (hosts []*lab, ports *netns.NS) {
	t.Helper()
	ports = bareNS(t)
	in(t, ports, func(h *netlink.Handle) error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = "switch"
		return first(h.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}), up(h, "switch"))
	})
	for i := 1; i <= n; i++ {
		l := &lab{t: t, onLAN: true, host: bareNS(t), log: &bytes.Buffer{}, crashed: map[*Driver]bool{}}
		l.outside = ports // nobody asks it
		l.config = Config{StateDir: t.TempDir(), HostDir: t.TempDir(), Instance: fmt.Sprintf("ab1%d", i), Host: l.host, Log: slog.New(slog.NewTextHandler(l.log, nil))}
		l.must(l.host.Do(func() error {
			return first(setSysctl("ipv4/ip_forward", "0"), setSysctl("ipv6/conf/default/disable_ipv6", "1"))
		}))
		port := fmt.Sprint("p", i)
		in(t, ports, func(h *netlink.Handle) error {
			attrs := netlink.NewLinkAttrs()
			attrs.Name = port
			err := h.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "lan", PeerTxQLen: -1, PeerNamespace: netlink.NsFd(l.host.FD())})
			link, failure := h.LinkByName(port)
			if first(err, failure) != nil {
				return first(err, failure)
			}
			bridge, err := h.LinkByName("switch")
			return first(err, h.LinkSetMaster(link, bridge), up(h, port))
		})
		l.inHost(func(h *netlink.Handle) error {
			return first(address(h, "lan", fmt.Sprintf("198.18.0.%d/24", i)), up(h, "lo"), up(h, "lan"))
		})
		h, socket, err := openRoute(l.host)
		l.must(err)
		l.must(awaitCarrier(t.Context(), socket, "lan"))
		h.Close()
		socket.Close()
		hosts = append(hosts, l)
	}
	return hosts, ports
}

// lanNetwork is a network of a driver whose containers are on the LAN themselves, with addresses of their own part of it.
func (l *lab) lanNetwork(d *Driver, name, driver string, options ...string) Network {
	l.t.Helper()
	return l.network(d, name, func(s *NetworkSpec) {
		s.Driver, s.Options = driver, map[string]string{optionParent: "lan"}
		part := strings.TrimPrefix(l.config.Instance, "ab1") // .16 for the first host, .32 for the second
		s.Pools = []Pool{{Subnet: netip.MustParsePrefix("198.18.0.0/24"), Range: netip.MustParsePrefix("198.18.0." + fmt.Sprint(16*int(part[0]-'0')) + "/28"), Gateway: netip.MustParseAddr("198.18.0.254")}}
		for _, o := range options {
			key, value, _ := strings.Cut(o, "=")
			s.Options[key] = value
		}
	})
}
