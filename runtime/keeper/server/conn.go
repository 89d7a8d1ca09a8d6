package server

import (
	"golang.org/x/sys/unix"

	"tutti/runtime/keeper/wire"
)

// queueLimit stops reading requests while so many answers wait for an engine that does not read them.
const queueLimit = 512

// packet is a message on its way to the engine. Its descriptors are the packet's own and are closed once sent.
type packet struct {
	bytes []byte
	fds   []int
}

// conn is the keeper's end of the socketpair to one engine process. Nothing blocks: what the engine does not
// read waits in out, in the order in which it came about.
type conn struct {
	fd     int // -1: there is no engine, or it hung up
	out    []packet
	staged map[uint64][]file // parts of Holds whose last part is to come, by Seq
	in     []byte
	oob    []byte
}

func newConn(fd int) *conn {
	return &conn{
		fd: fd, staged: map[uint64][]file{},
		in: make([]byte, wire.MaxMessage), oob: make([]byte, unix.CmsgSpace(4*253)),
	}
}

// receive returns the next message with the descriptors that came with it; ok is false when there is none
// at the moment or the engine hung up.
func (c *conn) receive() (m wire.Message, fds []int, ok bool) {
	for c.fd >= 0 {
		n, oobn, flags, _, err := unix.Recvmsg(c.fd, c.in, c.oob, unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return wire.Message{}, nil, false
		case err != nil || n == 0:
			c.hangUp()
			return wire.Message{}, nil, false
		}
		fds = rights(c.oob[:oobn])
		m, err = wire.Parse(c.in[:n])
		if err != nil {
			closeAll(fds)
			continue
		}
		if flags&unix.MSG_CTRUNC != 0 || len(fds) != len(m.Names) {
			closeAll(fds)
			c.send(wire.Message{Op: wire.OpReply, ID: m.ID, Seq: m.Seq, Text: "the keeper cannot open more files"}, nil)
			continue
		}
		return m, fds, true
	}
	return wire.Message{}, nil, false
}

// rights returns the descriptors of a control message buffer.
func rights(oob []byte) (fds []int) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	for i := range messages {
		if got, err := unix.ParseUnixRights(&messages[i]); err == nil {
			fds = append(fds, got...)
		}
	}
	return fds
}

// send queues m. The descriptors become the packet's.
func (c *conn) send(m wire.Message, fds []int) {
	if c.fd < 0 {
		closeAll(fds)
		return
	}
	c.out = append(c.out, packet{bytes: m.Append(nil), fds: fds})
}

// flush writes what the socket takes.
func (c *conn) flush() {
	sent := 0
	for sent < len(c.out) && c.fd >= 0 {
		p := c.out[sent]
		var oob []byte
		if len(p.fds) > 0 {
			oob = unix.UnixRights(p.fds...)
		}
		err := unix.Sendmsg(c.fd, p.bytes, oob, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		if err == unix.EINTR {
			continue
		}
		if err == unix.EAGAIN {
			break
		}
		if err != nil {
			c.hangUp() // an answer cannot be delivered: the engine must see that rather than wait for it
			return
		}
		closeAll(p.fds)
		sent++
	}
	c.out = c.out[sent:]
	if len(c.out) == 0 {
		c.out = nil
	}
}

// hangUp closes the socket and everything that was on its way, in either direction.
func (c *conn) hangUp() {
	if c.fd < 0 {
		return
	}
	unix.Close(c.fd)
	c.fd = -1
	for _, p := range c.out {
		closeAll(p.fds)
	}
	for _, files := range c.staged {
		for _, f := range files {
			unix.Close(f.fd)
		}
	}
	c.out, c.staged = nil, nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}
