package portmap

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"tutti/netdriver/netns"
)

// Socket holds a port of the host, so that no other program gets it, and leads what reaches
// it into a container by a proxy.
type Socket struct {
	host   *netns.NS
	tcp    *net.TCPListener // one of the two
	udp    *net.UDPConn
	addr   netip.AddrPort
	target atomic.Pointer[netip.AddrPort]

	serve  sync.Once
	ctx    context.Context //nolint:containedctx // the life of the proxy, which Close ends
	cancel context.CancelFunc
	work   sync.WaitGroup
}

// Listen takes a port of the host: proto is "tcp" or "udp", port 0 any free one of the
// ephemeral range. Until [Socket.Lead] connections wait.
func Listen(ctx context.Context, host *netns.NS, proto string, addr netip.AddrPort) (*Socket, error) {
	s := &Socket{host: host}
	var err error
	var local net.Addr
	switch proto {
	case "tcp":
		if s.tcp, err = host.ListenTCP(addr); err == nil {
			local = s.tcp.Addr()
		}
	case "udp":
		if s.udp, err = host.ListenUDP(addr); err == nil {
			local = s.udp.LocalAddr()
		}
	default:
		err = fmt.Errorf("protocol %q cannot be published, use tcp or udp", proto)
	}
	if err != nil {
		return nil, err
	}
	s.start(ctx, local)
	return s, nil
}

// FromFile makes a socket again of what [Socket.File] returned, and closes the file.
func FromFile(ctx context.Context, host *netns.NS, f *os.File) (*Socket, error) {
	defer f.Close()
	kind, err := unix.GetsockoptInt(int(f.Fd()), unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return nil, os.NewSyscallError("getsockopt", err)
	}
	s := &Socket{host: host}
	if kind == unix.SOCK_STREAM {
		l, err := net.FileListener(f)
		if err != nil {
			return nil, err
		}
		s.tcp = l.(*net.TCPListener)
		s.start(ctx, l.Addr())
		return s, nil
	}
	c, err := net.FilePacketConn(f)
	if err != nil {
		return nil, err
	}
	udp, ok := c.(*net.UDPConn)
	if !ok {
		return nil, errors.Join(errors.New("no socket of a port"), c.Close())
	}
	s.udp = udp
	s.start(ctx, c.LocalAddr())
	return s, nil
}

func (s *Socket) start(ctx context.Context, local net.Addr) {
	s.addr = netip.MustParseAddrPort(local.String()) // of a TCP or UDP socket it always is one
	s.ctx, s.cancel = context.WithCancel(ctx)
}

// Addr returns the address of the host that the socket is bound to.
func (s *Socket) Addr() netip.AddrPort { return s.addr }

// Proto returns "tcp" or "udp".
func (s *Socket) Proto() string {
	if s.tcp != nil {
		return "tcp"
	}
	return "udp"
}

// Name names the port: the same name can be bound once on a host.
func (s *Socket) Name() string { return s.Proto() + " " + s.addr.String() }

// File returns a duplicate of the socket that outlives it.
func (s *Socket) File() (*os.File, error) {
	if s.tcp != nil {
		return s.tcp.File()
	}
	return s.udp.File()
}

// Lead leads what comes from now on to the target, and starts the proxy.
func (s *Socket) Lead(target netip.AddrPort) {
	s.target.Store(&target)
	s.serve.Do(func() {
		if s.tcp != nil {
			s.work.Go(s.acceptTCP)
		} else {
			s.work.Go(s.relayUDP)
		}
	})
}

// Close gives the port back, ends all connections through the proxy, and waits for it.
// Duplicates that [Socket.File] made go on holding the port.
func (s *Socket) Close() {
	s.cancel()
	// A child has a copy of the socket from fork(2) to execve(2), and the port would still be
	// taken: nobody is in between now.
	syscall.ForkLock.RLock()
	if s.tcp != nil {
		_ = s.tcp.Close()
	} else {
		_ = s.udp.Close()
	}
	syscall.ForkLock.RUnlock()
	s.work.Wait()
}
