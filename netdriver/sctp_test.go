package netdriver

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tutti/netdriver/netns"
	"tutti/netdriver/portmap"
)

// sctpPatience is for a machine that is emulated: what is lost SCTP sends again after 3, 6 and 12 s (RFC 9260, 16).
const sctpPatience = 30 * time.Second

// sctpSocket opens a one-to-one SCTP socket (sctp(7)) in a namespace, until the test ends.
func (l *lab) sctpSocket(ns *netns.NS, family int) (fd int, err error) {
	err = ns.Do(func() (err error) {
		fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_SCTP)
		return err
	})
	if err == nil {
		l.t.Cleanup(func() { _ = unix.Close(fd) })
		limit := &unix.Timeval{Sec: int64(sctpPatience / time.Second)}
		l.must(errors.Join(unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, limit), unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, limit)))
	}
	return fd, err
}

// askSCTP connects and returns what the server says.
func (l *lab) askSCTP(from *netns.NS, addr string) (string, error) {
	to := netip.MustParseAddrPort(addr)
	family, sa := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()})
	if to.Addr().Is4() {
		family, sa = unix.AF_INET, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}
	}
	fd, err := l.sctpSocket(from, family)
	if err != nil {
		return "", err
	}
	if err := unix.Connect(fd, sa); err != nil {
		return "", err
	}
	buf := make([]byte, 100)
	n, err := unix.Read(fd, buf)
	return string(buf[:max(n, 0)]), err
}

// SCTP with the kernel's own sockets. A kernel that has none says so by name, and nothing is left.
func TestSCTP(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	d := l.driver()
	net := l.network(d, "net", nil)
	box := l.box(d, "box", net)
	before := l.run("iptables-save -t nat")
	server, err := l.sctpSocket(box.ns, unix.AF_INET)
	_, failed := d.Publish(t.Context(), "box", []PortSpec{{HostPort: 90, ContainerPort: 90}, {Proto: "sctp", HostPort: 90, ContainerPort: 9}})
	if errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.ESOCKTNOSUPPORT) {
		t.Log("the kernel of this machine has no SCTP: the guest's has")
		if !errors.Is(failed, portmap.ErrNoProtocol) || !strings.Contains(failed.Error(), "90/sctp") || !strings.Contains(failed.Error(), "modprobe sctp") {
			t.Errorf("without SCTP: %v", failed)
		}
		if after := l.run("iptables-save -t nat"); after != before {
			t.Errorf("left rules:\n%s", after)
		}
		return
	}
	l.must(err)
	l.must(failed)
	l.must(errors.Join(unix.Bind(server, &unix.SockaddrInet4{Port: 9}), unix.Listen(server, 16)))
	go func() {
		for {
			c, from, err := unix.Accept(server)
			if errors.Is(err, unix.EAGAIN) {
				continue
			}
			if err != nil {
				return
			}
			_, _ = unix.Write(c, []byte("box "+netip.AddrFrom4(from.(*unix.SockaddrInet4).Addr).String()))
			_ = unix.Close(c)
		}
	}()
	for what, c := range map[string]struct {
		from       *netns.NS
		addr, want string
	}{
		"from outside":   {l.outside, hostIP + ":90", "box " + outsideIP},
		"from localhost": {l.host, "127.0.0.1:90", "box " + net.Gateway(true).String()},
		"IPv6":           {l.host, "[::1]:90", "box " + net.Gateway(true).String()},
		"own port":       {box.ns, hostIP + ":90", "box " + net.Gateway(true).String()},
	} {
		if got, err := l.askSCTP(c.from, c.addr); err != nil || got != c.want {
			t.Errorf("%s: %q, %v; want %q", what, got, err, c.want)
		}
	}
	other, err := l.sctpSocket(l.host, unix.AF_INET)
	l.must(err)
	if err := errors.Join(unix.Bind(other, &unix.SockaddrInet4{Port: 90}), unix.Listen(other, 1)); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("others can have the port: %v", err)
	}
}

// The rules lead SCTP packets both ways, with their checksums, also where the kernel has no sockets of it.
func TestSCTPPackets(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	d := l.driver()
	net := l.network(d, "net", nil)
	box := l.box(d, "box", net)
	l.must(d.firewall.Apply(t.Context(), portmap.Rules{
		Networks: []portmap.Network{{Bridge: net.Bridge, Subnets: net.Subnets(), Masquerade: true}},
		Ports:    []portmap.Port{{Proto: "sctp", Host: netip.MustParseAddrPort("0.0.0.0:90"), Container: netip.AddrPortFrom(box.at[0].IPv4.Addr(), 9)}},
	}))
	client, server := l.rawSCTP(l.outside), l.rawSCTP(box.ns)
	const tag = 0x11223344
	l.must(unix.Sendto(client, sctpPacket(5000, 90, 0, 1, tag), 0, &unix.SockaddrInet4{Addr: netip.MustParseAddr(hostIP).As4()}))
	from, got := l.receiveSCTP(server, 1)
	if from != outsideIP || got != [2]uint16{5000, 9} {
		t.Errorf("the container gets an INIT from %s, ports %v", from, got)
	}
	l.must(unix.Sendto(server, sctpPacket(9, 5000, tag, 2, 0x55667788), 0, &unix.SockaddrInet4{Addr: netip.MustParseAddr(outsideIP).As4()}))
	if from, got = l.receiveSCTP(client, 2); from != hostIP || got != [2]uint16{90, 5000} {
		t.Errorf("the client gets the answer from %s, ports %v", from, got)
	}
}

func (l *lab) rawSCTP(ns *netns.NS) (fd int) {
	l.t.Helper()
	l.must(ns.Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_SCTP)
		return err
	}))
	l.t.Cleanup(func() { _ = unix.Close(fd) })
	l.must(unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: int64(patience / time.Second)}))
	return fd
}

// receiveSCTP waits for a packet whose first chunk is of a kind, and returns its sender and ports. Its checksum has to be right.
func (l *lab) receiveSCTP(fd int, kind byte) (from string, ports [2]uint16) {
	l.t.Helper()
	for {
		buf := make([]byte, 1500)
		n, sa, err := unix.Recvfrom(fd, buf, 0)
		l.must(err)
		packet := buf[int(buf[0]&15)*4 : n] // after the IP header
		if len(packet) < 16 || packet[12] != kind {
			continue // an ABORT of a kernel that has SCTP
		}
		sum := binary.LittleEndian.Uint32(packet[8:])
		clear(packet[8:12])
		if sum != crc32.Checksum(packet, crc32.MakeTable(crc32.Castagnoli)) {
			l.t.Error("the checksum of a packet is wrong")
		}
		ports = [2]uint16{binary.BigEndian.Uint16(packet), binary.BigEndian.Uint16(packet[2:])}
		return netip.AddrFrom4(sa.(*unix.SockaddrInet4).Addr).String(), ports
	}
}

// sctpPacket is an INIT (kind 1) or INIT ACK (2), RFC 9260, section 3.
func sctpPacket(from, to uint16, verification uint32, kind byte, tag uint32) []byte {
	b := binary.BigEndian.AppendUint16(nil, from)
	b = binary.BigEndian.AppendUint16(b, to)
	b = binary.BigEndian.AppendUint32(b, verification)
	b = append(b, 0, 0, 0, 0, kind, 0, 0, 20)
	b = binary.BigEndian.AppendUint32(b, tag)
	b = binary.BigEndian.AppendUint32(b, 65536) // window
	b = append(b, 0, 1, 0, 1, 0, 0, 0, 1)       // streams, first TSN
	binary.LittleEndian.PutUint32(b[8:], crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
	return b
}

// x-firewall: input. The host's INPUT chain decides who reaches the port, and can be told to let it in.
func TestInputPolicy(t *testing.T) {
	t.Parallel()
	rules, err := os.ReadFile("testdata/ufw.rules")
	if err != nil {
		t.Fatal(err)
	}
	l := newLab(t, string(rules))
	before := l.snapshot()
	d := l.driver()
	net := l.network(d, "net", nil)
	box, peer := l.box(d, "box", net), l.box(d, "peer", net)
	l.serve(box.ns, "box", 80)
	_, err = d.Publish(t.Context(), "box", []PortSpec{
		{HostPort: 8080, ContainerPort: 80, Input: true},
		{Proto: "udp", HostPort: 8080, ContainerPort: 80, Input: true},
		{HostPort: 8081, ContainerPort: 80},
	})
	l.must(err)
	for _, p := range []string{"tcp", "udp"} {
		l.blocked("an obedient port", l.outside, p, hostIP+":8080")
		l.blocked("an obedient port, from a container", peer.ns, p, hostIP+":8080")
		l.reaches("localhost", l.host, p, "127.0.0.1:8080", "box", "")
		l.run(fmt.Sprintf("iptables -A ufw-user-input -p %s --dport 8080 -j ACCEPT", p)) // ufw allow 8080
		l.reaches("allowed by the host", l.outside, p, hostIP+":8080", "box", "")
		l.reaches("allowed by the host, from a container", peer.ns, p, hostIP+":8080", "box", "")
		l.run(fmt.Sprintf("iptables -D ufw-user-input -p %s --dport 8080 -j ACCEPT", p))
	}
	l.reaches("an open port", l.outside, "tcp", hostIP+":8081", "box", outsideIP)
	for _, name := range []string{"box", "peer"} {
		l.must(d.Detach(t.Context(), name))
	}
	l.must(d.RemoveNetwork(t.Context(), net.ID))
	l.must(d.Flush(context.WithoutCancel(t.Context())))
	l.same(before)
}
