package probe

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"

	"tutti/netdriver/netns"
)

// Watcher sees packets that come into a namespace, or leave it, by way of a packet socket (packet(7)): before the firewall
// when they come, behind it when they leave. It remembers the first one of each probe.
type Watcher struct {
	ns      *netns.NS
	fd      int
	leaving bool
	ended   chan struct{}
	stop    [2]int // a pipe that ends the goroutine

	mu   sync.Mutex
	seen map[target]*Sighting // with nil for what has not been seen
}

// target is what a packet is recognised by.
type target struct {
	proto string
	to    netip.AddrPort // with port 0 for icmp
	token uint16         // the port that it is from, or the identifier of an echo: others probe at the same time
}

// Sighting is a packet that was seen.
type Sighting struct {
	Interface string
	Source    netip.Addr // as the packet had it
}

// Watch begins to watch in a namespace: for what comes in, or for what leaves it by another interface than a loopback.
// The caller has to Close the watcher.
func Watch(ns *netns.NS, leaving bool) (*Watcher, error) {
	w := &Watcher{ns: ns, fd: -1, leaving: leaving, ended: make(chan struct{}), seen: map[target]*Sighting{}}
	err := ns.Do(func() (err error) {
		// Without link headers (SOCK_DGRAM). Only a socket for all protocols sees what leaves.
		w.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, int(htons(unix.ETH_P_ALL)))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open a packet socket: %w", err)
	}
	if err := unix.Pipe2(w.stop[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		_ = unix.Close(w.fd)
		return nil, fmt.Errorf("watch packets: %w", err)
	}
	go w.watch()
	return w, nil
}

// expect tells the watcher what to look for.
func (w *Watcher) expect(t target) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen[t] = nil
}

// saw is the first packet of those that were expected. What has arrived by now counts, what comes later does not.
func (w *Watcher) saw(t target) *Sighting {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.read()
	s := w.seen[t]
	delete(w.seen, t)
	return s
}

// Close ends the watching and returns when nothing of it runs any more.
func (w *Watcher) Close() {
	_ = unix.Close(w.stop[1])
	<-w.ended
	_ = unix.Close(w.stop[0])
	_ = unix.Close(w.fd)
}

// watch reads packets until Close.
func (w *Watcher) watch() {
	defer close(w.ended)
	fds := []unix.PollFd{{Fd: int32(w.fd), Events: unix.POLLIN}, {Fd: int32(w.stop[0])}} //nolint:gosec // descriptors are small
	for {
		if _, err := unix.Poll(fds, -1); err != nil && err != unix.EINTR { //nolint:errorlint // Poll returns it bare
			return
		}
		if fds[1].Revents != 0 {
			return
		}
		w.mu.Lock()
		w.read()
		w.mu.Unlock()
	}
}

// read takes all packets that are there. w.mu is held.
func (w *Watcher) read() {
	var buf [128]byte // headers are enough
	for {
		n, from, err := unix.Recvfrom(w.fd, buf[:], unix.MSG_DONTWAIT)
		if err != nil {
			return // read empty, or an interface went down
		}
		if l, ok := from.(*unix.SockaddrLinklayer); ok {
			w.look(l, buf[:n])
		}
	}
}

// look remembers a packet if it is the first that somebody waits for. w.mu is held.
func (w *Watcher) look(l *unix.SockaddrLinklayer, packet []byte) {
	if w.leaving != (l.Pkttype == unix.PACKET_OUTGOING) || l.Pkttype == unix.PACKET_OTHERHOST {
		return
	}
	t, source, ok := readPacket(htons(l.Protocol), packet)
	if !ok {
		return
	}
	if s, wanted := w.seen[t]; !wanted || s != nil {
		return
	}
	name := ""
	if err := w.ns.Do(func() error {
		i, err := net.InterfaceByIndex(l.Ifindex)
		if err == nil && i.Flags&net.FlagLoopback == 0 {
			name = i.Name
		}
		return err
	}); err != nil || name == "" {
		return
	}
	w.seen[t] = &Sighting{Interface: name, Source: source}
}

// readPacket reads where an IP packet without options of IPv6 goes. Of ICMP only echo requests count.
func readPacket(etherType uint16, b []byte) (t target, source netip.Addr, ok bool) {
	var proto byte
	var to netip.Addr
	var payload []byte
	switch {
	case etherType == unix.ETH_P_IP && len(b) >= 20:
		header := int(b[0]&15) * 4
		if header < 20 || len(b) < header || binary.BigEndian.Uint16(b[6:])&0x1fff != 0 { // a later fragment
			return t, source, false
		}
		proto, payload = b[9], b[header:]
		source, to = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
	case etherType == unix.ETH_P_IPV6 && len(b) >= 40:
		proto, payload = b[6], b[40:]
		source, to = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
	}
	if len(payload) < 8 {
		return t, source, false
	}
	switch {
	case proto == unix.IPPROTO_TCP, proto == unix.IPPROTO_UDP:
		name := map[byte]string{unix.IPPROTO_TCP: "tcp", unix.IPPROTO_UDP: "udp"}[proto]
		return target{name, netip.AddrPortFrom(to, binary.BigEndian.Uint16(payload[2:])), binary.BigEndian.Uint16(payload)}, source, true
	case proto == unix.IPPROTO_ICMP && payload[0] == echoRequest4, proto == unix.IPPROTO_ICMPV6 && payload[0] == echoRequest6:
		return target{"icmp", netip.AddrPortFrom(to, 0), binary.BigEndian.Uint16(payload[4:])}, source, true
	}
	return t, source, false
}

func htons(n uint16) uint16 { return n<<8 | n>>8 }
