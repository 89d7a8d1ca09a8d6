// Package rtnl asks the kernel for what every container needs of it, at the lowest price there is: several requests of
// rtnetlink(7) in one system call with one answer, and the requests of netdevice(7), which tell and change one property of a
// link where rtnetlink tells everything about it in every answer. For what is not done for each container, package netlink
// is the better choice.
package rtnl

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"tutti/netdriver/netns"
)

// maxAnswer is more than the kernel ever says about one link, or of a request that it refuses.
const maxAnswer = 16 << 10

// Socket is a socket of rtnetlink in a network namespace. Its methods may be called concurrently, Close last.
type Socket struct {
	fd int

	mu  sync.Mutex // one exchange at a time
	seq uint32     // of the last request
	buf [maxAnswer]byte
}

// Open opens a socket in a namespace, which it keeps alive until it is closed.
func Open(ns *netns.NS) (*Socket, error) {
	fd, err := ns.Netlink()
	if err != nil {
		return nil, fmt.Errorf("open rtnetlink: %w", err)
	}
	return &Socket{fd: fd}, nil
}

// Close closes the socket.
func (s *Socket) Close() { _ = unix.Close(s.fd) } // nothing is buffered

// Send sends requests that change something, in one message. The kernel obeys them one after another, also what comes after
// one that it refuses. The error is that of the first it has refused, and failed is the number of that.
func (s *Socket) Send(requests ...*nl.NetlinkRequest) (failed int, refused error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	requests[len(requests)-1].Flags |= unix.NLM_F_ACK // of the others only errors are told
	first, err := s.write(requests)
	if err != nil {
		return 0, err
	}
	for {
		a, err := s.read()
		if err != nil {
			return 0, err
		}
		if a.refused != nil && refused == nil {
			failed, refused = int(a.seq-first), a.refused
		}
		if a.seq == s.seq {
			return failed, refused
		}
	}
}

// ask sends a request that tells something and returns the answer without its header. It is valid until the next request. The
// lock is held.
func (s *Socket) ask(request *nl.NetlinkRequest) ([]byte, error) {
	if _, err := s.write([]*nl.NetlinkRequest{request}); err != nil {
		return nil, err
	}
	a, err := s.read()
	if err == nil {
		err = a.refused
	}
	return a.data, err
}

// write sends requests and returns the number of the first. The lock is held.
func (s *Socket) write(requests []*nl.NetlinkRequest) (first uint32, err error) {
	first = s.seq + 1
	var message []byte
	for _, r := range requests {
		s.seq++
		r.Seq = s.seq
		message = append(message, r.Serialize()...) // all are as long as a multiple of four, as the next has to be aligned
	}
	err = retry(func() error { return unix.Sendto(s.fd, message, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}) })
	if err != nil {
		return 0, fmt.Errorf("write to rtnetlink: %w", err)
	}
	return first, nil
}

// answer is what the kernel says of a request.
type answer struct {
	seq     uint32
	refused error  // why it was not obeyed
	data    []byte // without the header
}

// read returns the next answer. The kernel has given it when it returns from the write. The lock is held.
func (s *Socket) read() (answer, error) {
	for {
		var n int
		var from unix.Sockaddr
		err := retry(func() (err error) {
			n, from, err = unix.Recvfrom(s.fd, s.buf[:], unix.MSG_DONTWAIT)
			return err
		})
		if err != nil {
			return answer{}, fmt.Errorf("read from rtnetlink: %w", err)
		}
		// A container has the right to send messages to sockets in its namespace, and then it is not the kernel's.
		if sender, ok := from.(*unix.SockaddrNetlink); !ok || sender.Pid != 0 || n < unix.NLMSG_HDRLEN {
			continue
		}
		a := answer{seq: binary.NativeEndian.Uint32(s.buf[8:]), data: s.buf[unix.NLMSG_HDRLEN:n]}
		if binary.NativeEndian.Uint16(s.buf[4:]) == unix.NLMSG_ERROR && len(a.data) >= 4 {
			if errno := int32(binary.NativeEndian.Uint32(a.data)); errno != 0 {
				a.refused = unix.Errno(-errno)
			}
		}
		return a, nil
	}
}

// retry calls f until no signal has interrupted it.
func retry(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
