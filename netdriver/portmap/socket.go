package portmap

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"tutti/netdriver/netns"
)

// ErrNoProtocol says that the kernel has no sockets of a protocol, without which a port cannot be held.
var ErrNoProtocol = errors.New("the kernel of this host has no such protocol")

// protocols are those that can be published: the kind and the protocol of their sockets.
var protocols = map[string][2]int{
	"tcp":  {unix.SOCK_STREAM, unix.IPPROTO_TCP},
	"udp":  {unix.SOCK_DGRAM, unix.IPPROTO_UDP},
	"sctp": {unix.SOCK_STREAM, unix.IPPROTO_SCTP},
}

// Socket holds a port of the host, so that no other program gets it. What reaches it, and not the rules of the firewall,
// is led into a container by the relay.
type Socket struct {
	proto string
	addr  netip.AddrPort
	fd    int // non-blocking; not with the poller, for others wait for what comes
	relay *Relay

	mu     sync.Mutex
	target netip.AddrPort
	watch  *os.File // a duplicate, on which somebody waits for what comes; nil: nobody does
	handed bool     // the relay has the socket
	// An earlier engine may have handed the socket over.
	inherited bool
	closed    bool
	wait      sync.WaitGroup
}

// Listen takes a port of the host: proto is "tcp", "udp" or "sctp", port 0 any free one of the ephemeral range. Until
// [Socket.Lead] it rests, see [Socket.Rest].
func Listen(host *netns.NS, relay *Relay, proto string, addr netip.AddrPort) (*Socket, error) {
	kind, known := protocols[proto]
	if !known {
		return nil, fmt.Errorf("protocol %q cannot be published, use tcp, udp or sctp", proto)
	}
	fd := -1
	err := host.Do(func() (err error) {
		fd, err = bind(kind, addr)
		return err
	})
	if errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.ESOCKTNOSUPPORT) {
		return nil, fmt.Errorf("%w: %s; load its module (modprobe %s) or publish another protocol", ErrNoProtocol, proto, proto)
	}
	if err != nil {
		return nil, err
	}
	s, err := adopt(fd, relay)
	if err != nil {
		return nil, err
	}
	if err := s.refuse(); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return s, nil
}

// bind opens a socket on an address, which listens if its protocol has that. As in Go's package net 0.0.0.0 means IPv4
// alone, and [::] IPv6 alone.
func bind(kind [2]int, addr netip.AddrPort) (fd int, err error) {
	family, at := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Port: int(addr.Port()), Addr: addr.Addr().As16()})
	if addr.Addr().Is4() {
		family, at = unix.AF_INET, &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}
	}
	if fd, err = unix.Socket(family, kind[0]|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, kind[1]); err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	set := func(level, option int) {
		if err == nil {
			err = os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, level, option, 1))
		}
	}
	if family == unix.AF_INET6 {
		set(unix.IPPROTO_IPV6, unix.IPV6_V6ONLY)
	}
	switch { // an answer shall come from the address that was asked, and a port be free again when its connections linger
	case kind[0] == unix.SOCK_STREAM:
		set(unix.SOL_SOCKET, unix.SO_REUSEADDR)
	case family == unix.AF_INET6:
		set(unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO)
	default:
		set(unix.IPPROTO_IP, unix.IP_PKTINFO)
	}
	if err == nil {
		err = os.NewSyscallError("bind", unix.Bind(fd, at))
	}
	if err == nil && kind == protocols["tcp"] && addr.Port() == 0 {
		return keepPort(fd, kind, addr.Addr())
	}
	if err == nil && kind[0] == unix.SOCK_STREAM {
		err = os.NewSyscallError("listen", unix.Listen(fd, unix.SOMAXCONN))
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// keepPort returns, instead of a socket to which the kernel has given a port, one that has asked for that port: the kernel
// takes back what it has given itself when the socket refuses connections (tcp_set_state in net/ipv4/tcp.c). Both can be
// bound for a moment because neither listens yet.
func keepPort(given int, kind [2]int, addr netip.Addr) (fd int, err error) {
	defer unix.Close(given) //nolint:errcheck // nothing is buffered
	at, err := unix.Getsockname(given)
	if err != nil {
		return -1, os.NewSyscallError("getsockname", err)
	}
	port := 0
	switch a := at.(type) {
	case *unix.SockaddrInet4:
		port = a.Port
	case *unix.SockaddrInet6:
		port = a.Port
	}
	return bind(kind, netip.AddrPortFrom(addr, uint16(port))) //nolint:gosec // a port
}

// FromFile makes a socket again of what [Socket.File] returned, and closes the file.
func FromFile(relay *Relay, f *os.File) (*Socket, error) {
	defer f.Close()
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd := -1
	var failed error
	if err := raw.Control(func(n uintptr) { fd, failed = unix.FcntlInt(n, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		return nil, err
	}
	if failed != nil {
		return nil, os.NewSyscallError("dup", failed)
	}
	s, err := adopt(fd, relay)
	if err == nil {
		s.inherited = true
	}
	return s, err
}

// adopt makes a Socket of a bound socket.
func adopt(fd int, relay *Relay) (*Socket, error) {
	s := &Socket{fd: fd, relay: relay}
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	protocol, err2 := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	at, err3 := unix.Getsockname(fd)
	if err := errors.Join(err, err2, err3); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	for name, p := range protocols {
		if p == [2]int{kind, protocol} {
			s.proto = name
		}
	}
	switch a := at.(type) {
	case *unix.SockaddrInet4:
		s.addr = netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)) //nolint:gosec // a port
	case *unix.SockaddrInet6:
		s.addr = netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port)) //nolint:gosec // a port
	}
	if s.proto == "" || !s.addr.IsValid() {
		return nil, errors.Join(errors.New("no socket of a port"), unix.Close(fd))
	}
	return s, nil
}

// Addr returns the address of the host that the socket is bound to.
func (s *Socket) Addr() netip.AddrPort { return s.addr }

// Proto returns "tcp", "udp" or "sctp".
func (s *Socket) Proto() string { return s.proto }

// Name names the port: the same name can be bound once on a host.
func (s *Socket) Name() string { return s.proto + " " + s.addr.String() }

// File returns a duplicate of the socket that outlives it.
func (s *Socket) File() (*os.File, error) {
	fd, err := unix.FcntlInt(uintptr(s.fd), unix.F_DUPFD_CLOEXEC, 0) //nolint:gosec // a descriptor
	if err != nil {
		return nil, os.NewSyscallError("dup", err)
	}
	return os.NewFile(uintptr(fd), s.Name()), nil //nolint:gosec // a descriptor
}

// Lead leads what comes from now on to the target: once something comes, the relay gets the socket.
func (s *Socket) Lead(target netip.AddrPort) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.target
	s.target = target
	if before == target || s.closed {
		return nil
	}
	if err := s.listen(); err != nil {
		return fmt.Errorf("listen to port %s: %w", s.Name(), err)
	}
	if s.handed {
		s.wait.Go(func() { s.relay.hand(s) })
	} else if s.watch == nil {
		s.startWatch()
	}
	return nil
}

// Rest ends what goes on by the port. It stays taken, and whoever connects is refused, until [Socket.Lead].
func (s *Socket) Rest() error { return s.rest(s.relay.drop) }

// Pass is Rest for a port that becomes another's, while the one that had it goes on for a while: so do the connections that
// there are. UDP has none.
func (s *Socket) Pass() error { return s.rest(s.relay.leave) }

func (s *Socket) rest(give func(*Socket)) error {
	s.mu.Lock()
	led, watch := s.target.IsValid(), s.watch
	s.target, s.watch = netip.AddrPort{}, nil
	s.mu.Unlock()
	if !led {
		return nil
	}
	if watch != nil {
		_ = watch.Close()
	}
	s.wait.Wait()
	give(s)
	return s.refuse()
}

// refuse makes a TCP socket listen no more and stay bound (tcp_disconnect in the kernel's net/ipv4/tcp.c). Without
// SO_REUSEADDR no other socket gets the port meanwhile.
func (s *Socket) refuse() error {
	if s.proto != "tcp" {
		return nil
	}
	if err := unix.Shutdown(s.fd, unix.SHUT_RD); err != nil {
		return os.NewSyscallError("shutdown", err)
	}
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 0))
}

// listen takes that back.
func (s *Socket) listen() error {
	if s.proto != "tcp" {
		return nil
	}
	if on, err := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil || on != 0 {
		return os.NewSyscallError("getsockopt", err)
	}
	// The port's old connections may linger.
	err := os.NewSyscallError("setsockopt", unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1))
	return errors.Join(err, os.NewSyscallError("listen", unix.Listen(s.fd, unix.SOMAXCONN)))
}

// startWatch waits in the background until something comes. s.mu is held.
func (s *Socket) startWatch() {
	f, err := s.File()
	if err != nil {
		s.relay.log.Error("watch a published port", "port", s.Name(), "error", err)
		return
	}
	s.watch = f
	s.wait.Go(func() {
		if err := awaitReadable(f); err == nil {
			s.relay.hand(s)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		_ = f.Close()
		if s.watch == f {
			s.watch = nil
		}
	})
}

// awaitReadable waits until a connection or datagram has come, or the file is closed.
func awaitReadable(f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Read(func(fd uintptr) bool {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}} //nolint:gosec // a descriptor
		n, _ := unix.Poll(p, 0)
		return n > 0
	})
}

// Close gives the port back, ends all connections through the relay, and waits for it.
// Duplicates that [Socket.File] made go on holding the port.
func (s *Socket) Close() {
	s.relay.drop(s)
	s.Forget()
}

// Forget gives up this process's hold on the port; the relay, if it has the socket, goes on.
func (s *Socket) Forget() {
	s.mu.Lock()
	wasClosed := s.closed
	s.closed = true
	if s.watch != nil {
		_ = s.watch.Close()
	}
	s.mu.Unlock()
	s.wait.Wait()
	if wasClosed {
		return
	}
	// A child has a copy of the socket from fork(2) to execve(2), and the port would still be
	// taken: nobody is in between now.
	syscall.ForkLock.RLock()
	_ = unix.Close(s.fd)
	syscall.ForkLock.RUnlock()
}
