package netns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// ListenLoopback opens a UDP and a listening TCP socket on a loopback address inside the namespace, for its own processes
// alone: both are bound to the loopback interface (SO_BINDTODEVICE, socket(7)). The kernel drops what comes to such an
// address by another interface only as long as route_localnet is off, which a container may switch on for itself. Both
// keep the namespace alive until they are closed. With port 0 each has one of its own.
func (ns *NS) ListenLoopback(ctx context.Context, addr netip.AddrPort) (*net.UDPConn, *net.TCPListener, error) {
	c := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		controlErr := raw.Control(func(fd uintptr) { err = unix.BindToDevice(int(fd), "lo") })
		return errors.Join(controlErr, err)
	}}
	var udp net.PacketConn
	var tcp net.Listener
	err := ns.Do(func() (err error) {
		// A literal address is listened on by this very goroutine, and so on this thread.
		if udp, err = c.ListenPacket(ctx, family("udp", addr.Addr()), addr.String()); err != nil {
			return err
		}
		if tcp, err = c.Listen(ctx, family("tcp", addr.Addr()), addr.String()); err != nil {
			return errors.Join(err, udp.Close())
		}
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	return udp.(*net.UDPConn), tcp.(*net.TCPListener), nil
}
