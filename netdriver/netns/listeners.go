package netns

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"

	"golang.org/x/sys/unix"
)

// From include/uapi/linux/sock_diag.h and inet_diag.h.
const (
	sockDiagByFamily = 20      // SOCK_DIAG_BY_FAMILY
	stateListen      = 1 << 10 // 1 << TCP_LISTEN
	diagRequestSize  = 56      // struct inet_diag_req_v2
	diagMessageSize  = 72      // struct inet_diag_msg
	diagAnswerSize   = 64 << 10
)

// Listeners tells which TCP sockets listen in a namespace. It asks the kernel for these alone (sock_diag(7)), which takes some
// 20 µs; /proc/net/tcp would walk the table of all connections of the host. It keeps the namespace alive until Close, and is
// for one goroutine.
type Listeners struct {
	fd     int
	seed   maphash.Seed
	answer []byte
}

// Listeners opens a socket to ask about the namespace.
func (ns *NS) Listeners() (*Listeners, error) {
	l := &Listeners{fd: -1, seed: maphash.MakeSeed(), answer: make([]byte, diagAnswerSize)}
	err := ns.Do(func() (err error) {
		l.fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open sock_diag: %w", err)
	}
	// The kernel answers at once. Should it not, nobody may hang here.
	if err := unix.SetsockoptTimeval(l.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 1}); err != nil {
		_ = unix.Close(l.fd)
		return nil, fmt.Errorf("open sock_diag: %w", err)
	}
	return l, nil
}

// Close ends it.
func (l *Listeners) Close() { _ = unix.Close(l.fd) }

// Sum is a number that stands for the set of listening sockets, whatever their order; 0 without any. Sockets on the address
// except do not count.
func (l *Listeners) Sum(except [4]byte) (uint64, error) {
	var sum uint64
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		n, err := l.family(family, except)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

func (l *Listeners) family(family byte, except [4]byte) (sum uint64, err error) {
	request := make([]byte, unix.NLMSG_HDRLEN+diagRequestSize)
	order := binary.NativeEndian
	order.PutUint32(request, uint32(len(request))) //nolint:gosec // 72
	order.PutUint16(request[4:], sockDiagByFamily)
	order.PutUint16(request[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	body := request[unix.NLMSG_HDRLEN:]
	body[0], body[1] = family, unix.IPPROTO_TCP
	order.PutUint32(body[4:], stateListen)
	if err := unix.Sendto(l.fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return 0, fmt.Errorf("ask sock_diag: %w", err)
	}
	for {
		n, _, err := unix.Recvfrom(l.fd, l.answer, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("read from sock_diag: %w", err)
		}
		more, done, err := l.add(l.answer[:n], except)
		sum += more
		if err != nil || done {
			return sum, err
		}
	}
}

// add reads one packet of messages.
func (l *Listeners) add(packet []byte, except [4]byte) (sum uint64, done bool, err error) {
	for len(packet) >= unix.NLMSG_HDRLEN {
		size, kind := int(binary.NativeEndian.Uint32(packet)), binary.NativeEndian.Uint16(packet[4:])
		if size < unix.NLMSG_HDRLEN || size > len(packet) {
			return sum, true, errors.New("sock_diag sent a malformed message")
		}
		body := packet[unix.NLMSG_HDRLEN:size]
		switch kind {
		case unix.NLMSG_DONE:
			return sum, true, nil
		case unix.NLMSG_ERROR:
			if len(body) < 4 {
				return sum, true, errors.New("sock_diag sent a malformed error")
			}
			errno := unix.Errno(-int32(binary.NativeEndian.Uint32(body))) //nolint:gosec // a negative errno
			return sum, true, fmt.Errorf("sock_diag: %w", errno)
		case sockDiagByFamily:
			// family, state, timer, retrans, then inet_diag_sockid: ports and addresses in network order.
			if len(body) >= diagMessageSize && (body[0] != unix.AF_INET || [4]byte(body[8:12]) != except) {
				sum += maphash.Bytes(l.seed, append(body[4:6:6], body[8:24]...))
			}
		}
		packet = packet[min((size+unix.NLMSG_ALIGNTO-1)&^(unix.NLMSG_ALIGNTO-1), len(packet)):]
	}
	return sum, false, nil
}
