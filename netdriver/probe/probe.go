// Package probe finds out by real packets whether an address can be reached from a network namespace: a TCP connection, an
// ICMP echo, a UDP datagram. Somebody may watch meanwhile in the namespace where they should arrive, or on the host that
// they should leave, so that silence can be told from loss. And it tells what listens in a namespace, which explains a
// refusal.
package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tutti/netdriver/netns"
)

// State is how the other side reacted.
type State string

// The states of an [Outcome].
const (
	Answered    State = "answered"    // connected, or an echo or a datagram came back
	Refused     State = "refused"     // the address is reached, the port is closed: a reset, or ICMP port unreachable
	Silent      State = "silent"      // nothing came back in time
	NoRoute     State = "no route"    // the namespace has no route there, or a router said so
	Unreachable State = "unreachable" // nobody has the address (no answer to ARP), or a router or firewall said so
	Prohibited  State = "prohibited"  // the namespace's own firewall does not let it out
	Failed      State = "failed"      // the probe itself could not be made, see Outcome.Err
)

// Request is one probe.
type Request struct {
	From    *netns.NS
	Proto   string         // "tcp", "udp", "icmp"
	To      netip.AddrPort // the port is without meaning for icmp
	Payload []byte         // of the datagram, for udp
	Timeout time.Duration
	Watch   *Watcher // nil: nobody watches
}

// Outcome is what became of a probe.
type Outcome struct {
	State  State
	RTT    time.Duration // of an answer or a refusal
	Err    error         // what the kernel said; nil for Answered
	Reply  []byte        // a datagram that came back
	Source netip.Addr    // the address that it was sent from; zero if nothing was
	Seen   *Sighting     // by the watcher; nil: nothing was seen, or nobody watched
}

// Send makes a probe and waits for what comes of it, at most for the request's timeout.
func Send(ctx context.Context, r Request) Outcome {
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	s := &sender{Request: r}
	began := time.Now()
	err := s.send(ctx)
	o := Outcome{State: stateOf(err), RTT: time.Since(began), Err: err, Reply: s.reply, Source: s.source}
	if s.expected {
		o.Seen = r.Watch.saw(s.target)
	}
	return o
}

// sender is one probe on its way.
type sender struct {
	Request
	target   target
	expected bool // by the watcher
	reply    []byte
	source   netip.Addr
}

// expect tells the watcher what will be sent.
func (s *sender) expect(token uint16) {
	s.target = target{s.Proto, s.To, token}
	if s.Proto == "icmp" {
		s.target.to = netip.AddrPortFrom(s.To.Addr(), 0)
	}
	if s.Watch != nil {
		s.Watch.expect(s.target)
		s.expected = true
	}
}

func (s *sender) send(ctx context.Context) error {
	conn, err := s.dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // nothing is buffered here
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	switch c := conn.(type) {
	case *net.TCPConn:
		s.source = c.LocalAddr().(*net.TCPAddr).AddrPort().Addr()
		return nil
	case *net.IPConn:
		source, _ := netip.AddrFromSlice(c.LocalAddr().(*net.IPAddr).IP)
		s.source = source.Unmap()
		identifier := uint16(rand.Uint32()) //nolint:gosec // only to tell it from other probes
		s.expect(identifier)
		return ping(c, s.To.Addr().Is6(), identifier)
	}
	s.source = conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr()
	if _, err := conn.Write(s.Payload); err != nil {
		return err
	}
	buf := make([]byte, 64<<10)
	n, err := conn.Read(buf)
	s.reply = buf[:n]
	return err
}

// dial connects from inside the namespace.
func (s *sender) dial(ctx context.Context) (conn net.Conn, err error) {
	version := "4"
	if s.To.Addr().Is6() {
		version = "6"
	}
	network, address := s.Proto+version, s.To.String()
	d := &net.Dialer{Control: s.bind}
	if s.Proto == "icmp" {
		network, address = map[string]string{"4": "ip4:icmp", "6": "ip6:ipv6-icmp"}[version], s.To.Addr().String()
		d.Control = nil
	}
	err = s.From.Do(func() (err error) {
		// A literal address is dialled on this very goroutine, and so on this thread.
		conn, err = d.DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// bind gives a socket its port before it is connected, so that the watcher knows what to look for.
func (s *sender) bind(_, _ string, raw syscall.RawConn) error {
	var err error
	controlErr := raw.Control(func(fd uintptr) {
		var any unix.Sockaddr = &unix.SockaddrInet4{}
		if s.To.Addr().Is6() {
			any = &unix.SockaddrInet6{}
		}
		if err = unix.Bind(int(fd), any); err != nil {
			return
		}
		var own unix.Sockaddr
		if own, err = unix.Getsockname(int(fd)); err != nil {
			return
		}
		switch a := own.(type) {
		case *unix.SockaddrInet4:
			s.expect(uint16(a.Port)) //nolint:gosec // it is one
		case *unix.SockaddrInet6:
			s.expect(uint16(a.Port)) //nolint:gosec // it is one
		}
	})
	return errors.Join(controlErr, err)
}

// stateOf reads the errors of connect(2), send(2) and recv(2), which include those that ICMP messages caused (icmp(7)).
func stateOf(err error) State {
	switch {
	case err == nil:
		return Answered
	case errors.Is(err, unix.ECONNREFUSED), errors.Is(err, unix.ECONNRESET):
		return Refused
	case errors.Is(err, unix.ENETUNREACH):
		return NoRoute
	case errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.EHOSTDOWN), errors.Is(err, unix.ENOPROTOOPT), errors.Is(err, unix.EPROTO):
		return Unreachable
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return Prohibited
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.Is(err, unix.ETIMEDOUT), errors.Is(err, io.EOF):
		return Silent
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return Silent
	}
	return Failed
}

// String is for messages: "refused", or with what the kernel said of a failure.
func (o Outcome) String() string {
	if o.State == Failed {
		return fmt.Sprintf("%s: %v", o.State, o.Err)
	}
	return string(o.State)
}
