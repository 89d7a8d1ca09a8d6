package relay

import (
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	dialTimeout = 10 * time.Second
	acceptPause = 50 * time.Millisecond // after an error, say, too many open files
	pipeSize    = 256 << 10

	// A connection whose other end is gone without a word ends after 15 s + 3 * 15 s.
	keepAlive       = 15 // s
	keepAliveProbes = 3
)

// connection is a relayed connection, or a client of a datagram port.
type connection struct {
	client, server *os.File // client is nil for datagrams
}

// abort ends both sides at once. Whoever reads or writes gets an error.
func (c *connection) abort() {
	for _, f := range []*os.File{c.client, c.server} {
		if f != nil {
			linger0(f)
			_ = f.Close()
		}
	}
}

// linger0 makes the close of a socket a reset, which tells the other side that something is wrong.
func linger0(f *os.File) {
	_ = once(f, func(fd int) error {
		return unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	})
}

// acceptStreams leads connections to the target until the socket is closed.
func (p *port) acceptStreams() {
	for {
		client, err := p.accept()
		if err != nil {
			p.mu.Lock()
			closed := p.closed
			p.mu.Unlock()
			if closed {
				return
			}
			time.Sleep(acceptPause) // a failing accept says nothing of when it will succeed
			continue
		}
		p.work.Go(func() { p.relayStream(client) })
	}
}

func (p *port) accept() (*os.File, error) {
	var client int
	err := wait(p.file, false, func(fd int) (err error) {
		client, _, err = unix.Accept4(fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		return err
	})
	if err != nil {
		return nil, err
	}
	p.tune(client)
	return os.NewFile(uintptr(client), "client"), nil //nolint:gosec // a descriptor
}

// tune sets what Go sets for its connections.
func (p *port) tune(fd int) {
	if p.proto != "tcp" {
		return
	}
	for option, value := range map[int]int{
		unix.TCP_NODELAY: 1, unix.TCP_KEEPIDLE: keepAlive, unix.TCP_KEEPINTVL: keepAlive, unix.TCP_KEEPCNT: keepAliveProbes,
	} {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, option, value)
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
}

// socket opens a TCP, SCTP or UDP socket for a connection to the target. p.mu is held.
func (p *port) socket() (*os.File, error) {
	kind, protocol := unix.SOCK_STREAM, unix.IPPROTO_TCP
	switch p.proto {
	case "udp":
		kind, protocol = unix.SOCK_DGRAM, unix.IPPROTO_UDP
	case "sctp":
		protocol = unix.IPPROTO_SCTP
	}
	_, family := sockaddr(p.target)
	fd, err := unix.Socket(family, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return nil, err
	}
	p.tune(fd)
	return os.NewFile(uintptr(fd), "server"), nil //nolint:gosec // a descriptor
}

// connect connects a socket.
func connect(f *os.File, target netip.AddrPort) error {
	to, _ := sockaddr(target)
	begun := false
	_ = f.SetWriteDeadline(time.Now().Add(dialTimeout))
	err := wait(f, true, func(fd int) error {
		if !begun {
			begun = true
			if err := unix.Connect(fd, to); err != unix.EINPROGRESS { //nolint:errorlint // an errno
				return err
			}
			return unix.EAGAIN
		}
		if code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR); err != nil || code != 0 {
			return unix.Errno(code) //nolint:gosec // an errno
		}
		if _, err := unix.Getpeername(fd); err != nil {
			return unix.EAGAIN // woken too early
		}
		return nil
	})
	_ = f.SetWriteDeadline(time.Time{})
	return err
}

// relayStream copies both ways until both ends have said all, or the connection is cut.
func (p *port) relayStream(client *os.File) {
	c, target, err := p.enter(client)
	if err != nil {
		linger0(client) // tells the client that nobody is there
		_ = client.Close()
		return
	}
	defer p.leave(c)
	if err := connect(c.server, target); err != nil {
		c.abort()
		return
	}
	var both sync.WaitGroup
	both.Go(func() { p.copy(c, c.server, client) })
	p.copy(c, client, c.server)
	both.Wait()
	_ = client.Close()
	_ = c.server.Close()
}

// copy copies one way. The end of what comes is passed on; an error ends both ways.
func (p *port) copy(c *connection, to, from *os.File) {
	var err error
	if p.proto == "tcp" {
		err = splice(to, from)
	} else { // SCTP has neither splice(2) nor connections that are half open
		_, err = to.ReadFrom(struct{ reader }{from})
		defer func() { _ = once(from, shutdown(unix.SHUT_RDWR)) }()
	}
	if err != nil {
		c.abort()
		return
	}
	_ = once(to, shutdown(unix.SHUT_WR))
}

func shutdown(how int) func(fd int) error {
	return func(fd int) error { return unix.Shutdown(fd, how) }
}

// reader hides what else a file can do.
type reader interface{ Read([]byte) (int, error) }

// splice copies from one socket to another through a pipe, without the data coming here (splice(2)).
func splice(to, from *os.File) error {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return err
	}
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	_, _ = unix.FcntlInt(uintptr(pipe[1]), unix.F_SETPIPE_SZ, pipeSize) //nolint:gosec // a descriptor; the default does, too
	for {
		var n int
		err := wait(from, false, func(fd int) error {
			got, err := unix.Splice(fd, nil, pipe[1], nil, pipeSize, unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
			n = int(got)
			return err
		})
		if err != nil || n == 0 {
			return err
		}
		for n > 0 {
			err := wait(to, true, func(fd int) error {
				sent, err := unix.Splice(pipe[0], nil, fd, nil, n, unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
				n -= max(0, int(sent))
				return err
			})
			if err != nil {
				return err
			}
		}
	}
}

// sockaddr is an address for system calls, and its family.
func sockaddr(a netip.AddrPort) (sa unix.Sockaddr, family int) {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}, unix.AF_INET
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}, unix.AF_INET6
}
