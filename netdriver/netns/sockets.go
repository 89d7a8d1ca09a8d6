package netns

import (
	"context"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// Netlink opens a socket of rtnetlink(7) inside the namespace, for the caller to close. The socket keeps the namespace alive
// until then. That of a new namespace is there already, so that nobody has to enter it.
func (ns *NS) Netlink() (fd int, err error) {
	if ns != nil {
		if spare := ns.spare.Swap(0); spare != 0 {
			return int(spare - 1), nil
		}
	}
	err = ns.Do(func() (err error) {
		fd, err = netlink()
		return err
	})
	return fd, err
}

// netlink opens a socket of rtnetlink in the namespace of the calling thread.
func netlink() (int, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	return fd, os.NewSyscallError("socket", err)
}

// ListenUDP opens a UDP socket on addr inside the namespace. The socket keeps the namespace
// alive until it is closed.
func (ns *NS) ListenUDP(addr netip.AddrPort) (*net.UDPConn, error) {
	var conn *net.UDPConn
	err := ns.Do(func() (err error) {
		conn, err = net.ListenUDP(family("udp", addr.Addr()), net.UDPAddrFromAddrPort(addr))
		return err
	})
	return conn, err
}

// ListenTCP opens a listening TCP socket on addr inside the namespace. The socket keeps the
// namespace alive until it is closed.
func (ns *NS) ListenTCP(addr netip.AddrPort) (*net.TCPListener, error) {
	var listener *net.TCPListener
	err := ns.Do(func() (err error) {
		listener, err = net.ListenTCP(family("tcp", addr.Addr()), net.TCPAddrFromAddrPort(addr))
		return err
	})
	return listener, err
}

// Dial connects to addr from inside the namespace. The network is "tcp" or "udp".
func (ns *NS) Dial(ctx context.Context, network string, addr netip.AddrPort) (net.Conn, error) {
	var conn net.Conn
	err := ns.Do(func() (err error) {
		// A literal address is dialled on this very goroutine, and so on this thread.
		conn, err = new(net.Dialer).DialContext(ctx, family(network, addr.Addr()), addr.String())
		return err
	})
	return conn, err
}

// family appends the address family so that 0.0.0.0 means IPv4 alone and [::] means IPv6
// alone.
func family(network string, addr netip.Addr) string {
	if addr.Is4() {
		return network + "4"
	}
	return network + "6"
}
