package dns

import (
	"encoding/binary"
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// batchSize is how many requests are read, and answers written, by one system call. A batch of the shortest requests
	// is answered in about 0.1 ms, which is what a client waits for another one's.
	batchSize = 64
	// packetBuffer holds any sensible request and any answer from the table over UDP.
	packetBuffer = 1280
	// maxSegmented is how many bytes fit into one datagram of several answers: IPv4's limit without the headers.
	maxSegmented = 65535 - 20 - 8
)

// message is the kernel's struct mmsghdr (recvmmsg(2)).
type message struct {
	header unix.Msghdr
	n      uint32 // bytes received or sent
}

// segmentSize is a control message UDP_SEGMENT (udp(7)): the datagram is cut into pieces of so many bytes, of which the
// last may be shorter, and each piece arrives as a datagram of its own. All go the kernel's way as one, which for packets as
// small as these is most of the work.
type segmentSize struct {
	header unix.Cmsghdr
	size   uint16
	_      [6]byte // what CMSG_SPACE fills up
}

// batch reads requests and writes their answers, in place. It is used by one goroutine, for one socket after the other.
type batch struct {
	in      [batchSize]message
	inVec   [batchSize]unix.Iovec
	from    [batchSize]unix.RawSockaddrInet4
	buf     [batchSize][packetBuffer]byte
	out     [batchSize]message
	outVec  [batchSize]unix.Iovec // of all messages, one behind the other
	size    [batchSize]int        // of the answers by request; 0 when there is nothing to send, or nothing any more
	control [batchSize]segmentSize
	first   [batchSize]int // by message, the first in outVec and in members
	members [batchSize]int // the requests whose answers outVec has
}

func newBatch() *batch {
	b := &batch{}
	for i := range b.in {
		h := &b.in[i].header
		b.inVec[i].Base = &b.buf[i][0]
		h.Iov = &b.inVec[i]
		h.SetIovlen(1)
		h.Name = (*byte)(unsafe.Pointer(&b.from[i]))
		c := &b.control[i]
		c.header.Level, c.header.Type = unix.SOL_UDP, unix.UDP_SEGMENT
		c.header.SetLen(unix.CmsgLen(int(unsafe.Sizeof(c.size))))
	}
	return b
}

// read takes what waits in a socket and returns how many requests that are. EAGAIN says that there are none.
func (b *batch) read(fd int) (int, error) {
	for i := range b.in {
		b.inVec[i].SetLen(packetBuffer)
		b.in[i].header.Namelen = unix.SizeofSockaddrInet4
	}
	for {
		n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.in[0])), batchSize, unix.MSG_DONTWAIT, 0, 0)
		if errno == 0 {
			return int(n), nil
		}
		if errno != unix.EINTR {
			return 0, errno
		}
	}
}

// socketAddress is an address as other system calls than those of batches take it.
func socketAddress(a unix.RawSockaddrInet4) *unix.SockaddrInet4 {
	port := (*[2]byte)(unsafe.Pointer(&a.Port))
	return &unix.SockaddrInet4{Addr: a.Addr, Port: int(binary.BigEndian.Uint16(port[:]))}
}

// request is what was read with a number.
func (b *batch) request(i int) []byte { return b.buf[i][:min(b.in[i].n, packetBuffer)] }

// write sends the answers to the first n requests, those of one client's socket that are equally long as one datagram
// where segments says so. It returns whether the kernel does such things with this socket. An answer that cannot be sent is
// lost like any datagram: the client asks again.
func (b *batch) write(fd, n int, segments bool) bool {
	count := b.pack(n, segments)
	for sent := 0; sent < count; {
		did, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.out[sent])), uintptr(count-sent), unix.MSG_DONTWAIT, 0, 0)
		switch {
		case errno == unix.EINTR:
		case errno != 0:
			if b.out[sent].header.Iovlen > 1 && refusesSegments(errno) {
				segments = false
				b.writeSingly(fd, sent)
			}
			sent++
		default:
			sent += int(did)
		}
	}
	return segments
}

// refusesSegments says whether an error may be about UDP_SEGMENT: an old kernel, an interface whose packets must be smaller,
// or that computes no checksums.
func refusesSegments(err error) bool {
	return errors.Is(err, unix.EIO) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EMSGSIZE) || errors.Is(err, unix.EOPNOTSUPP)
}

// pack makes messages of the answers to the first n requests, and returns how many messages.
func (b *batch) pack(n int, segments bool) (count int) {
	used := 0
	for i := range n {
		if b.size[i] == 0 {
			continue
		}
		b.first[count] = used
		used = b.gather(used, i, n, segments)
		b.address(count, used)
		count++
	}
	return count
}

// gather appends the answer to request i to outVec, and with segments those that can follow it in the same datagram: to the
// same client, as long as it, and a shorter one at the end. It returns the length of outVec then.
func (b *batch) gather(used, i, n int, segments bool) int {
	size, room, shorter := b.size[i], maxSegmented, -1
	take := func(k int) {
		b.outVec[used].Base = &b.buf[k][0]
		b.outVec[used].SetLen(b.size[k])
		b.members[used] = k
		used++
		room -= b.size[k]
		b.size[k] = 0
	}
	take(i)
	if !segments {
		return used
	}
	for k := i + 1; k < n && room >= 2*size; k++ { // for the answer and a shorter one
		switch {
		case b.size[k] == 0 || b.from[k].Port != b.from[i].Port || b.from[k].Addr != b.from[i].Addr:
		case b.size[k] == size:
			take(k)
		case b.size[k] < size && shorter < 0:
			shorter = k
		}
	}
	if shorter >= 0 {
		take(shorter)
	}
	return used
}

// address completes a message whose answers end at used in outVec.
func (b *batch) address(i, used int) {
	h := &b.out[i].header
	first := b.first[i]
	*h = unix.Msghdr{Name: (*byte)(unsafe.Pointer(&b.from[b.members[first]])), Namelen: unix.SizeofSockaddrInet4, Iov: &b.outVec[first]}
	h.SetIovlen(used - first)
	if used-first > 1 {
		c := &b.control[i]
		c.size = uint16(b.outVec[first].Len) //nolint:gosec // an answer over UDP has 1,232 bytes at most
		h.Control = (*byte)(unsafe.Pointer(c))
		h.SetControllen(int(unsafe.Sizeof(*c)))
	}
}

// writeSingly sends the answers of a message that the kernel does not take as one datagram.
func (b *batch) writeSingly(fd, i int) {
	h := &b.out[i].header
	for k := range int(h.Iovlen) {
		single := unix.Msghdr{Name: h.Name, Namelen: h.Namelen, Iov: &b.outVec[b.first[i]+k]}
		single.SetIovlen(1)
		_, _, _ = unix.Syscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&single)), unix.MSG_DONTWAIT)
	}
}
