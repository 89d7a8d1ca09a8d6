package netdriver

import (
	"errors"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tutti/netdriver/netns"
)

// BenchmarkPacket measures what the kernel takes of a processor to bring a packet from one namespace to another, with all that
// happens to it on the way: over a cable (a veth pair), by a host that routes it to its bridge without a single rule, between
// two containers of a network, and by a published port. The second is what there is no way below for a container behind a
// bridge; what a round trip or a stream of large packets takes more than over a cable follows from it.
func BenchmarkPacket(b *testing.B) {
	l := newLab(b, "")
	d := l.driver()
	n := l.network(d, "net", nil)
	far, near := l.box(d, "far", n), l.box(d, "near", n)
	_, err := d.Publish(b.Context(), "far", []PortSpec{{Proto: "udp", HostPort: 7000, ContainerPort: 7000}})
	l.must(err)
	outside, router, inside := l.plainBridge()
	b.Run("cable", func(b *testing.B) { l.flood(b, outside, router, "10.8.0.1", 7000) })
	b.Run("bridge-without-rules", func(b *testing.B) { l.flood(b, outside, inside, "10.9.0.2", 7000) })
	b.Run("container-to-container", func(b *testing.B) { l.flood(b, near.ns, far.ns, far.ip(0), 7000) })
	b.Run("published-from-outside", func(b *testing.B) { l.flood(b, l.outside, far.ns, hostIP, 7000) })
	b.Run("published-from-localhost", func(b *testing.B) { l.flood(b, l.host, far.ns, "127.0.0.1", 7000) })
}

// plainBridge makes another host that routes from its link to its bridge, without any rules. It returns the namespaces of
// another machine on the link, of the host, and of a container.
func (l *lab) plainBridge() (outside, host, inside *netns.NS) {
	outside, host, inside = bareNS(l.t), bareNS(l.t), bareNS(l.t)
	l.must(host.Do(func() error { return setSysctl("ipv4/ip_forward", "1") }))
	in(l.t, host, func(h *netlink.Handle) error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = "bridge"
		err := h.LinkAdd(&netlink.Bridge{LinkAttrs: attrs, MulticastSnooping: new(bool)})
		bridge, lost := h.LinkByName("bridge")
		if err := errors.Join(err, lost); err != nil {
			return err
		}
		pair := func(name string, to *netns.NS, master int) error {
			attrs := netlink.NewLinkAttrs()
			attrs.Name, attrs.MasterIndex = name, master
			return h.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "link", PeerTxQLen: -1, PeerNamespace: netlink.NsFd(to.FD())})
		}
		return first(pair("uplink", outside, 0), pair("port", inside, bridge.Attrs().Index), address(h, "uplink", "10.8.0.1/24"),
			address(h, "bridge", "10.9.0.1/24"), up(h, "uplink"), up(h, "port"), up(h, "bridge"))
	})
	for ns, addr := range map[*netns.NS]string{outside: "10.8.0.2/24", inside: "10.9.0.2/24"} {
		in(l.t, ns, func(h *netlink.Handle) error {
			gateway := net.ParseIP(map[*netns.NS]string{outside: "10.8.0.1", inside: "10.9.0.1"}[ns])
			return first(address(h, "link", addr), up(h, "link"), h.RouteAdd(&netlink.Route{Gw: gateway}))
		})
	}
	return outside, host, inside
}

// flood sends packets to a server that reads only the first, and reports the time of a processor that one takes, in ns: the quartile
// of groups of packets.
func (l *lab) flood(b *testing.B, from, to *netns.NS, addr string, port uint16) {
	server, err := to.ListenUDP(netip.AddrPortFrom(netip.IPv4Unspecified(), port))
	l.must(err)
	defer server.Close()
	conn, err := from.Dial(b.Context(), "udp", netip.AddrPortFrom(netip.MustParseAddr(addr), port))
	l.must(err)
	defer conn.Close()
	_, err = conn.Write([]byte("?"))
	l.must(err)
	_ = server.SetReadDeadline(time.Now().Add(patience))
	if _, _, err := server.ReadFromUDPAddrPort(make([]byte, 10)); err != nil {
		b.Fatalf("%s does not get there: %v", addr, err)
	}
	l.must(server.SetReadBuffer(1)) // full soon: what comes then goes no further
	raw, err := conn.(*net.UDPConn).SyscallConn()
	l.must(err)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const packets = 400
	var took []time.Duration
	for b.Loop() {
		began := threadTime(b)
		l.must(raw.Control(func(fd uintptr) {
			for range packets {
				_, err = unix.Write(int(fd), []byte("?"))
			}
		}))
		l.must(err)
		took = append(took, threadTime(b)-began)
	}
	// Other load makes it longer, and shorter where the kernel has left work to its own thread (ksoftirqd).
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/4].Nanoseconds())/packets, "cpu-ns/packet")
}

// threadTime is the time of a processor that the thread has had so far.
func threadTime(b *testing.B) time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		b.Fatal(err)
	}
	return time.Duration(t.Nano())
}
