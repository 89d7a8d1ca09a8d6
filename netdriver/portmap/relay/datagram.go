package relay

import (
	"errors"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	udpIdle  = 90 * time.Second // as Docker's proxy: a client that is silent is forgotten
	udpFlows = 4096             // clients of a port at a time: their addresses can be forged
	udpSize  = 65535
)

// buffers are for a datagram each. Who waits for one has none.
var buffers = sync.Pool{New: func() any { return new([udpSize]byte) }}

// flow is a client of a datagram port: its address, and that of the host which it writes to.
type flow struct{ client, host string }

// datagram is a received datagram. Its data is in a buffer that has to be put back.
type datagram struct {
	buffer *[udpSize]byte
	data   []byte
	flow   flow
	from   unix.Sockaddr
	info   []byte // a control message that makes answers come from the address the client wrote to
}

// relayDatagrams leads datagrams to the target, with a socket for each client so that answers find their way back.
func (p *port) relayDatagrams() {
	flows := map[flow]*connection{}
	var mu sync.Mutex
	for {
		d, err := p.receive()
		if errors.Is(err, os.ErrClosed) {
			return
		}
		if err != nil {
			continue // an ICMP error of an answer
		}
		mu.Lock()
		c, full := flows[d.flow], len(flows) >= udpFlows
		mu.Unlock()
		if c == nil && !full {
			if c = p.begin(); c != nil {
				mu.Lock()
				flows[d.flow] = c
				mu.Unlock()
				p.work.Go(func() {
					p.answer(d, c.server)
					mu.Lock()
					delete(flows, d.flow)
					mu.Unlock()
					p.leave(c)
				})
			}
		}
		if c != nil {
			_ = c.server.SetReadDeadline(time.Now().Add(udpIdle))
			_ = once(c.server, func(fd int) error { _, err := unix.Write(fd, d.data); return err }) // datagrams may get lost
		}
		buffers.Put(d.buffer)
	}
}

// begin makes a connected socket for a client, or returns nil.
func (p *port) begin() *connection {
	c, target, err := p.enter(nil)
	if err != nil {
		return nil
	}
	if err := connect(c.server, target); err != nil {
		p.leave(c)
		_ = c.server.Close()
		return nil
	}
	return c
}

// receive waits for a datagram of a client.
func (p *port) receive() (d datagram, err error) {
	err = wait(p.file, false, func(fd int) error {
		d.buffer = buffers.Get().(*[udpSize]byte) //nolint:forcetypeassert // nothing else is put there
		var oob [128]byte
		n, oobn, _, from, err := unix.Recvmsg(fd, d.buffer[:], oob[:], unix.MSG_DONTWAIT)
		if err != nil {
			buffers.Put(d.buffer)
			return err
		}
		d.data, d.from, d.info = d.buffer[:n], from, answerInfo(oob[:oobn])
		d.flow = flow{key(from), string(d.info)}
		return nil
	})
	return d, err
}

// answer leads answers back to the client until it was silent for long, or the port is ended.
func (p *port) answer(d datagram, server *os.File) {
	defer server.Close()
	for {
		var buffer *[udpSize]byte
		var n int
		err := wait(server, false, func(fd int) (err error) {
			buffer = buffers.Get().(*[udpSize]byte) //nolint:forcetypeassert // nothing else is put there
			if n, err = unix.Read(fd, buffer[:]); err != nil {
				buffers.Put(buffer)
			}
			return err
		})
		switch {
		case err == nil:
			_ = once(p.file, func(fd int) error { return unix.Sendmsg(fd, buffer[:n], d.info, d.from, unix.MSG_DONTWAIT) })
			buffers.Put(buffer)
		case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, os.ErrClosed):
			return
		default: // an ICMP error: nobody listens yet
		}
	}
}

// answerInfo makes of the control messages of a datagram those of its answer: IP_PKTINFO (ip(7)), IPV6_PKTINFO (ipv6(7)).
func answerInfo(oob []byte) []byte {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	for _, m := range messages {
		switch {
		case m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_PKTINFO && len(m.Data) >= unix.SizeofInet4Pktinfo:
			// struct in_pktinfo: interface, local address (the answer's source), destination
			info := unix.Inet4Pktinfo{Spec_dst: [4]byte(m.Data[4:8])}
			return unix.PktInfo4(&info)
		case m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_PKTINFO && len(m.Data) >= unix.SizeofInet6Pktinfo:
			info := unix.Inet6Pktinfo{Addr: [16]byte(m.Data[:16])}
			if linkLocal := m.Data[0] == 0xfe && m.Data[1]&0xc0 == 0x80; linkLocal {
				info.Ifindex = uint32(m.Data[16]) | uint32(m.Data[17])<<8 | uint32(m.Data[18])<<16 | uint32(m.Data[19])<<24
			}
			return unix.PktInfo6(&info)
		}
	}
	return nil
}

// key is a client's address as the key of a map.
func key(sa unix.Sockaddr) string {
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		return string(a.Addr[:]) + string([]byte{byte(a.Port >> 8), byte(a.Port)})
	case *unix.SockaddrInet6:
		return string(a.Addr[:]) + string([]byte{byte(a.Port >> 8), byte(a.Port), byte(a.ZoneId)})
	}
	return ""
}
