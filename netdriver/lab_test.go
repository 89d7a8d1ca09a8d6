package netdriver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tutti/netdriver/netns"
)

// lab is a host of its own: a namespace whose uplink leads to another one, "outside", which
// is both another machine on the link and the way to the world.
type lab struct {
	t       testing.TB
	host    *netns.NS
	outside *netns.NS
	config  Config
	log     *bytes.Buffer
	crashed map[*Driver]bool
	onLAN   bool // with nothing that concerns the firewall, see newLAN
}

// Addresses in the lab.
const (
	hostIP    = "192.0.2.1" // the host's, on its uplink
	outsideIP = "192.0.2.2" // the other machine on the link
	worldIP   = "198.51.100.1"
	uplinkMTU = 1400
)

// newLab makes a host. The setup is the input of iptables-restore before anything of ours.
func newLab(t testing.TB, rules string) *lab {
	t.Helper()
	l := &lab{t: t, host: bareNS(t), outside: bareNS(t), log: &bytes.Buffer{}, crashed: map[*Driver]bool{}}
	l.config = Config{
		SystemBus: "unix:path=/nowhere", StateDir: t.TempDir(), HostDir: t.TempDir(), Instance: "ab12", Host: l.host,
		Log: slog.New(slog.NewTextHandler(l.log, nil)), RelayProgram: func() (*os.File, error) { return os.Open("/proc/self/exe") },
	}
	for _, ns := range []*netns.NS{l.host, l.outside} { // link-local addresses at once or never
		l.must(ns.Do(func() error {
			// A new namespace takes over the real host's setting, and other tests may have networks there.
			return errors.Join(setSysctl("ipv6/conf/default/accept_dad", "0"), setSysctl("ipv4/ip_forward", "0"))
		}))
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = "uplink", uplinkMTU
	l.inHost(func(h *netlink.Handle) error {
		err := h.LinkAdd(&netlink.Veth{
			LinkAttrs: attrs, PeerName: "link", PeerTxQLen: -1, PeerNamespace: netlink.NsFd(l.outside.FD()),
		})
		return first(err, address(h, "uplink", hostIP+"/24"), address(h, "uplink", "2001:db8::1/64"), up(h, "lo"), up(h, "uplink"))
	})
	in(t, l.outside, func(h *netlink.Handle) error {
		return first(address(h, "link", outsideIP+"/24"), address(h, "link", "2001:db8::2/64"), up(h, "lo"), up(h, "link"), address(h, "lo", worldIP+"/32"))
	})
	l.inHost(func(h *netlink.Handle) error {
		return h.RouteAdd(&netlink.Route{Gw: net.ParseIP(outsideIP)})
	})
	for name, ns := range map[string]*netns.NS{"uplink": l.host, "link": l.outside} {
		h, socket, err := openRoute(ns)
		l.must(err)
		l.must(awaitCarrier(t.Context(), socket, name))
		h.Close()
		socket.Close()
	}
	// The kernel finishes IPv6 in the background: two addresses, a local route for each.
	for deadline := time.Now().Add(patience); strings.Count(l.run("ip -6 route show table local dev uplink"), "local") < 2; {
		if time.Now().After(deadline) {
			t.Fatal("the uplink has no IPv6")
		}
	}
	if rules != "" {
		cmd := exec.CommandContext(t.Context(), "iptables-restore")
		cmd.Stdin = strings.NewReader(rules)
		l.must(l.host.Do(cmd.Run))
	}
	return l
}

func bareNS(t testing.TB) *netns.NS {
	t.Helper()
	ns, err := netns.NewBare()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ns.Close)
	return ns
}

// in runs f with rtnetlink of a namespace.
func in(t testing.TB, ns *netns.NS, f func(*netlink.Handle) error) {
	t.Helper()
	h, socket, err := openRoute(ns)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	defer socket.Close()
	if err := f(h); err != nil {
		t.Fatal(err)
	}
}

func (l *lab) inHost(f func(*netlink.Handle) error) { l.t.Helper(); in(l.t, l.host, f) }

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func address(h *netlink.Handle, link, addr string) error {
	l, err := h.LinkByName(link)
	if err != nil {
		return err
	}
	a, err := netlink.ParseAddr(addr)
	if err != nil {
		return err
	}
	if a.IP.To4() == nil {
		a.Flags = 2 // IFA_F_NODAD
	}
	return h.AddrAdd(l, a)
}

func up(h *netlink.Handle, link string) error {
	l, err := h.LinkByName(link)
	if err != nil {
		return err
	}
	return h.LinkSetUp(l)
}

func (l *lab) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

// driver starts a driver with nothing to restore.
func (l *lab) driver() *Driver {
	l.t.Helper()
	d := l.newDriver()
	l.must(d.Restore(l.t.Context(), nil, nil))
	return d
}

// newDriver starts a driver. It is closed at the end, which has to take its time.
func (l *lab) newDriver() *Driver {
	l.t.Helper()
	d, err := New(l.t.Context(), l.config)
	l.must(err)
	l.t.Cleanup(func() {
		if l.crashed[d] {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		if err := d.Close(ctx); err != nil {
			l.t.Error(err)
		}
	})
	return d
}

// crash ends a driver as the end of its process does: nothing is cleaned up or written.
func (l *lab) crash(d *Driver) {
	l.crashed[d] = true
	d.bin.stop()
	d.rules.stop()
	l.must(d.closePorts())
	d.closeNamespaces()
	d.end()
	d.socket.Close()
	d.route.Close()
}

// pools are subnets without anything else.
func pools(subnets ...string) []Pool {
	var all []Pool
	for _, s := range subnets {
		all = append(all, Pool{Subnet: netip.MustParsePrefix(s)})
	}
	return all
}

// network makes a network named after its id.
func (l *lab) network(d *Driver, name string, change func(*NetworkSpec)) Network {
	l.t.Helper()
	spec := NetworkSpec{ID: fmt.Sprintf("%x00000000", name), Name: name}
	if change != nil {
		change(&spec)
	}
	n, err := d.CreateNetwork(l.t.Context(), spec)
	l.must(err)
	return n
}

// box is a container as far as networks go: a namespace.
type box struct {
	lab  *lab
	name string
	ns   *netns.NS
	at   []Endpoint
}

// box attaches a new container to networks, the first of which is the way out.
func (l *lab) box(d *Driver, name string, networks ...Network) *box {
	l.t.Helper()
	ns, err := netns.New()
	l.must(err)
	l.t.Cleanup(ns.Close)
	b := &box{lab: l, name: name, ns: ns}
	var specs []EndpointSpec
	for i, n := range networks {
		specs = append(specs, EndpointSpec{NetworkID: n.ID, Name: name, DefaultRoute: i == 0})
	}
	b.at, err = d.Attach(l.t.Context(), name, ns, specs)
	l.must(err)
	return b
}

// ip returns the container's address in its nth network.
func (b *box) ip(n int) string { return b.at[n].IPv4.Addr().String() }

// serve answers every TCP connection and UDP datagram on the port in the namespace with the
// name of the server and the address of the client, until the test ends.
func (l *lab) serve(ns *netns.NS, name string, port uint16) {
	l.t.Helper()
	l.t.Cleanup(l.serveUntil(ns, name, port))
}

// serveUntil is serve until the function that it returns has been called, which may be again.
func (l *lab) serveUntil(ns *netns.NS, name string, port uint16) (end func()) {
	l.t.Helper()
	var served sync.WaitGroup
	var open []io.Closer
	addrs := []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
	if ns == l.outside { // whose answers to one of its addresses have to come from that
		addrs = []netip.Addr{netip.MustParseAddr(outsideIP), netip.MustParseAddr(worldIP), netip.MustParseAddr("2001:db8::2")}
	}
	for _, a := range addrs {
		addr := netip.AddrPortFrom(a, port)
		tcp, err := ns.ListenTCP(addr)
		l.must(err)
		udp, err := ns.ListenUDP(addr)
		l.must(err)
		open = append(open, tcp, udp)
		served.Go(func() {
			for {
				c, err := tcp.Accept()
				if err != nil {
					return
				}
				_, _ = io.WriteString(c, name+" "+c.RemoteAddr().(*net.TCPAddr).IP.String())
				_ = c.Close()
			}
		})
		served.Go(func() {
			buf := make([]byte, 16)
			for {
				_, client, err := udp.ReadFromUDPAddrPort(buf)
				if err != nil {
					return
				}
				_, _ = udp.WriteToUDPAddrPort([]byte(name+" "+client.Addr().Unmap().String()), client)
			}
		})
	}
	return func() {
		for _, c := range open {
			_ = c.Close()
		}
		served.Wait()
	}
}

// Waiting times. What is blocked is dropped, so that only time tells.
const (
	patience  = 30 * time.Second
	impatient = 250 * time.Millisecond
)

// ask returns the answer of a server of [lab.serve].
func ask(ctx context.Context, from *netns.NS, network, addr string, wait time.Duration) (string, error) {
	answer, _, err := askCounting(ctx, from, network, addr, wait)
	return answer, err
}

// askCounting is ask, and counts the packets that TCP had to send once more.
func askCounting(ctx context.Context, from *netns.NS, network, addr string, wait time.Duration) (answer string, lost uint32, err error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	c, err := from.Dial(ctx, network, netip.MustParseAddrPort(addr))
	if err != nil {
		return "", 0, err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(wait))
	if network == "udp" {
		buf := make([]byte, 100)
		if _, err := c.Write([]byte("?")); err != nil {
			return "", 0, err
		}
		n, err := c.Read(buf)
		return string(buf[:n]), 0, err
	}
	b, err := io.ReadAll(c)
	return string(b), retransmitted(c), err
}

// retransmitted counts what a TCP connection has sent more than once, tcp(7).
func retransmitted(c net.Conn) (n uint32) {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return 0
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			n = info.Total_retrans
		}
	})
	return n
}

// reaches asserts that a server answers, and as whom it sees the client if seen is not empty.
func (l *lab) reaches(what string, from *netns.NS, network, addr, server, seen string) {
	l.t.Helper()
	got, lost, err := askCounting(l.t.Context(), from, network, addr, patience)
	name, client, _ := strings.Cut(got, " ")
	if err != nil || name != server || seen != "" && client != seen {
		l.t.Errorf("%s: %s %s answers %q, %v; want %s %s", what, network, addr, got, err, server, seen)
	}
	if lost > 0 {
		l.t.Errorf("%s: %d packets were lost", what, lost)
	}
}

// blocked asserts that nobody answers.
func (l *lab) blocked(what string, from *netns.NS, network, addr string) {
	l.t.Helper()
	if got, err := ask(l.t.Context(), from, network, addr, impatient); err == nil {
		l.t.Errorf("%s: %s %s answers %q, want nothing", what, network, addr, got)
	}
}
