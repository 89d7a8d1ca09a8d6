package netdriver

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// What is sent to a multicast group reaches those of the same network who have joined it, and no other network. The bridge does
// not watch who joins.
func TestMulticast(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	d := l.driver()
	one, two := l.network(d, "1a", nil), l.network(d, "1b", nil)
	link, err := d.route.LinkByName(d.lookup(one.ID).Bridge)
	l.must(err)
	if watches := link.(*netlink.Bridge).MulticastSnooping; watches == nil || *watches {
		t.Error("the bridge watches who joins which group")
	}
	sender, near, far := l.box(d, "sender", one), l.box(d, "near", one), l.box(d, "far", two)
	group := netip.MustParseAddrPort("239.1.2.3:7000")
	join := func(b *box) *net.UDPConn {
		var conn *net.UDPConn
		l.must(b.ns.Do(func() error {
			eth0, err := net.InterfaceByName("eth0")
			if err == nil {
				conn, err = net.ListenMulticastUDP("udp4", eth0, net.UDPAddrFromAddrPort(group))
			}
			return err
		}))
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	hears := func(conn *net.UDPConn, wait time.Duration) bool {
		_ = conn.SetReadDeadline(time.Now().Add(wait))
		n, from, err := conn.ReadFromUDPAddrPort(make([]byte, 10))
		return err == nil && n == 5 && from.Addr() == netip.MustParseAddr(sender.ip(0))
	}
	nearby, away := join(near), join(far)
	conn, err := sender.ns.Dial(t.Context(), "udp", group)
	l.must(err)
	defer conn.Close()
	_, err = conn.Write([]byte("hello"))
	l.must(err)
	if !hears(nearby, patience) {
		t.Error("a container of the network does not hear what is sent to its group")
	}
	if hears(away, impatient) {
		t.Error("a container of another network hears it")
	}
}
