package dns

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// answerBatch answers the first n requests of a batch, all out of the same table. What has to be forwarded goes on in a
// goroutine of its own.
func (c *client) answerBatch(b *batch, n int, q *query) {
	v := c.view()
	for i := range n {
		request := b.request(i)
		answer, forward := c.respond(v, request, q, false)
		b.size[i] = len(answer)
		if forward {
			c.forwardUDP(v, request, *q, b.from[i])
		}
	}
	c.segments = b.write(c.udp, n, c.segments)
}

// forwardBuffer is the largest UDP answer taken from an upstream; larger ones come over TCP.
const forwardBuffer = 4096

var forwardBuffers = sync.Pool{New: func() any { return new([forwardBuffer]byte) }}

// forwardUDP starts asking the upstreams. It owns the place that respond acquired.
func (c *client) forwardUDP(v *view, msg []byte, q query, from unix.RawSockaddrInet4) {
	request := append(make([]byte, 0, len(msg)+optLen), msg...)
	c.running.Go(func() {
		defer c.release()
		buf := forwardBuffers.Get().(*[forwardBuffer]byte)
		defer forwardBuffers.Put(buf)
		if answer := c.server.forward(c.ctx, v, request, &q, buf[:]); answer != nil {
			// An answer that cannot be sent is lost like any datagram: the client asks again.
			_ = unix.Sendto(c.udp, answer, unix.MSG_DONTWAIT, socketAddress(from))
		}
	})
}

// serveTCP accepts connections and serves each in a goroutine.
func (c *client) serveTCP() {
	for {
		conn, err := c.tcp.AcceptTCP()
		if err != nil {
			if c.ended("accept on the TCP socket", err) {
				return
			}
			continue
		}
		if c.streams.Add(1) > maxStreamsPerClient {
			c.streams.Add(-1)
			_ = conn.Close()
			continue
		}
		c.running.Go(func() {
			defer c.streams.Add(-1)
			(&stream{client: c, conn: conn}).serve(c.ctx)
		})
	}
}

// maxStreamAnswer is what the length in front of a message can say.
const maxStreamAnswer = 0xffff

// maxStreamRequest bounds what is read for one request; those that are larger
// than any question with EDNS options end the connection.
const maxStreamRequest = 4096

// stream is one connection over TCP.
type stream struct {
	client  *client
	conn    net.Conn
	pending sync.WaitGroup // requests that are being forwarded

	writing sync.Mutex
}

// serve answers the requests of a connection (RFC 7766), until the client closes its side, is silent for streamIdle, or
// breaks the framing. What has to be forwarded is answered when its answer is there; what comes behind it does not wait.
func (s *stream) serve(ctx context.Context) {
	defer s.conn.Close() //nolint:errcheck // nothing is buffered here
	defer context.AfterFunc(ctx, func() { _ = s.conn.Close() })()
	defer s.pending.Wait()
	q := &query{}
	for {
		if s.conn.SetReadDeadline(time.Now().Add(s.client.server.idle)) != nil {
			return
		}
		request, err := readStream(s.conn, maxStreamRequest)
		if err != nil {
			return
		}
		v := s.client.view()
		answer, forward := s.client.respond(v, request, q, true)
		if forward {
			s.forward(ctx, v, request, *q)
			continue
		}
		if answer == nil || !s.write(answer) {
			return
		}
	}
}

// forward starts asking the upstreams. It owns the place that respond acquired.
func (s *stream) forward(ctx context.Context, v *view, request []byte, q query) {
	s.pending.Go(func() {
		defer s.client.release()
		if answer := s.client.server.forward(ctx, v, request, &q, nil); answer != nil {
			s.write(answer)
		}
	})
}

// write sends an answer. A client that does not read loses its connection.
func (s *stream) write(answer []byte) bool {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.conn.SetWriteDeadline(time.Now().Add(streamIdle)) == nil && writeStream(s.conn, answer) == nil {
		return true
	}
	_ = s.conn.Close()
	return false
}

// readStream reads a message with its length in front (RFC 1035 section 4.2.2).
func readStream(r io.Reader, limit int) ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(length[:]))
	if n > limit {
		return nil, errTooLong
	}
	msg := make([]byte, n)
	_, err := io.ReadFull(r, msg)
	return msg, err
}

// writeStream writes length and message in one segment where possible.
func writeStream(w io.Writer, msg []byte) error {
	framed := binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(msg)), uint16(len(msg))) //nolint:gosec // answers are limited to 65,535
	_, err := w.Write(append(framed, msg...))
	return err
}
