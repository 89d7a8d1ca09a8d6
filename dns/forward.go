package dns

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

var (
	errTooLong  = errors.New("message too long")
	errNotReply = errors.New("not an answer to the request")
)

// maxUpstreams is how many servers are asked for one query: docker's, and the
// resolver library's (MAXNS in resolv.conf(5)).
const maxUpstreams = 3

// forwardable says whether unknown names of a client are forwarded at all.
func (s *Server) forwardable(v *view) bool {
	return !v.Internal || len(v.Upstreams) > 0 && s.config.DialClient != nil
}

type dialFunc func(ctx context.Context, network string, server netip.AddrPort) (net.Conn, error)

// route says whom to ask for a client, and how to reach them.
func (s *Server) route(v *view) ([]netip.AddrPort, dialFunc) {
	servers, dial := v.Upstreams, dialFunc(dialHost)
	switch {
	case len(servers) == 0:
		servers = s.config.Upstreams()
	case s.config.DialClient != nil:
		dial = func(ctx context.Context, network string, server netip.AddrPort) (net.Conn, error) {
			return s.config.DialClient(ctx, v.ID, network, server)
		}
	}
	return s.health.order(servers[:min(len(servers), maxUpstreams)]), dial
}

func dialHost(ctx context.Context, network string, server netip.AddrPort) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, network, server.String())
}

// forward asks the upstreams and returns the answer for the client, or nil when
// ctx ended. A client that asked over UDP gives a buffer for the answer, one that
// asked over a stream gives nil. request is changed.
func (s *Server) forward(ctx context.Context, v *view, request []byte, q *query, buf []byte) []byte {
	x := &exchange{request: request, q: q, buf: buf}
	id := [2]byte(request)
	if q.opt != 0 && q.udpSize > forwardBuffer {
		binary.BigEndian.PutUint16(request[q.opt+3:], forwardBuffer)
		q.udpSize = forwardBuffer
	}
	servers, dial := s.route(v)
	x.dial = dial
	var failure []byte
	for i, server := range servers {
		timeout := s.config.Timeout
		if i == len(servers)-1 {
			timeout *= 2
		}
		answer, err := x.ask(ctx, server, timeout)
		if ctx.Err() != nil {
			return nil
		}
		if s.health.record(server, err) {
			s.config.Log.Warn("resolver: upstream does not answer, others are asked first for a while",
				"server", server, "error", err)
		}
		if err != nil {
			continue
		}
		copy(answer, id[:])
		if rcode := uint16(answer[3]) & maskRcode; rcode != rcodeServFail && rcode != rcodeRefused {
			return x.fit(answer)
		}
		failure = slices.Clone(x.fit(answer)) // the buffer is needed for the next server
	}
	if failure != nil {
		return failure
	}
	copy(request, id[:])
	return answerCode(request, q, rcodeServFail)
}

// exchange is one request on its way to one upstream after the other.
type exchange struct {
	request []byte
	q       *query
	buf     []byte // for an answer over UDP; nil when the client waits on a stream
	dial    dialFunc
}

// ask asks one server. The answer keeps the id that was sent.
func (x *exchange) ask(ctx context.Context, server netip.AddrPort, timeout time.Duration) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if _, err := rand.Read(x.request[:2]); err != nil { // a fresh id and, by a new socket, a fresh port each time (RFC 5452)
		return nil, err
	}
	if x.buf == nil {
		answer, err := x.overTCP(ctx, server)
		if err == nil || ctx.Err() != nil {
			return answer, err
		}
		return x.overUDP(ctx, server, make([]byte, forwardBuffer)) // servers without TCP exist
	}
	answer, err := x.overUDP(ctx, server, x.buf)
	if err == nil && answer[2]&(flagTruncated>>8) != 0 && x.q.udpSize > udpPayload {
		// The client takes more than most servers send over UDP: get it the whole answer.
		if whole, err := x.overTCP(ctx, server); err == nil && len(whole) <= x.q.udpSize {
			return whole, nil
		}
	}
	return answer, err
}

// fit shortens an answer to what the client takes over UDP.
func (x *exchange) fit(answer []byte) []byte {
	if x.buf == nil || len(answer) <= x.q.udpSize {
		return answer
	}
	answer = answer[:x.q.end]
	answer[2] |= flagTruncated >> 8
	clear(answer[6:headerLen])
	return finish(answer, x.q, rcodeSuccess)
}

func (x *exchange) overUDP(ctx context.Context, server netip.AddrPort, buf []byte) ([]byte, error) {
	conn, err := x.dial(ctx, "udp", server)
	if err != nil {
		return nil, err
	}
	defer conn.Close() //nolint:errcheck // nothing is buffered here
	defer endWith(ctx, conn)()
	if _, err := conn.Write(x.request); err != nil {
		return nil, err
	}
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return nil, err
		}
		// What does not match may be a late answer or a forgery: wait for the right one.
		if answer, err := x.check(buf[:n]); err == nil {
			return answer, nil
		}
	}
}

func (x *exchange) overTCP(ctx context.Context, server netip.AddrPort) ([]byte, error) {
	conn, err := x.dial(ctx, "tcp", server)
	if err != nil {
		return nil, err
	}
	defer conn.Close() //nolint:errcheck // nothing is buffered here
	defer endWith(ctx, conn)()
	if err := writeStream(conn, x.request); err != nil {
		return nil, err
	}
	msg, err := readStream(conn, maxStreamAnswer)
	if err != nil {
		return nil, err
	}
	return x.check(msg)
}

// endWith makes reads and writes fail once ctx has ended.
func endWith(ctx context.Context, conn net.Conn) func() bool {
	return context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
}

// check says whether msg answers the request. Some servers report an error without
// repeating the question; it is put back.
func (x *exchange) check(msg []byte) ([]byte, error) {
	if len(msg) < headerLen || !bytes.Equal(msg[:2], x.request[:2]) {
		return nil, errNotReply
	}
	flags := binary.BigEndian.Uint16(msg[2:])
	if flags&flagResponse == 0 || flags&maskOpcode != 0 {
		return nil, errNotReply
	}
	if rcode := flags & maskRcode; rcode != rcodeSuccess && len(msg) == headerLen {
		return answerCode(slices.Clone(x.request), x.q, rcode), nil
	}
	if !questionIs(msg, x.request, x.q.end) {
		return nil, errNotReply
	}
	return msg, nil
}

// unhealthyFor is how long a server that did not answer is asked after the others.
const unhealthyFor = 30 * time.Second

// health remembers which upstreams did not answer of late, so that a dead first
// server delays one query and not each.
type health struct {
	mu     sync.Mutex
	failed map[netip.AddrPort]time.Time
}

// order returns the servers with those that failed of late at the end.
func (h *health) order(servers []netip.AddrPort) []netip.AddrPort {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.failed) == 0 {
		return servers
	}
	var good, bad []netip.AddrPort
	for _, server := range servers {
		if at, ok := h.failed[server]; ok && time.Since(at) < unhealthyFor {
			bad = append(bad, server)
		} else {
			good = append(good, server)
		}
	}
	return append(good, bad...)
}

// record notes whether a server answered, and says whether it failed for the first time.
func (h *health) record(server netip.AddrPort, err error) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, before := h.failed[server]
	if err == nil {
		delete(h.failed, server)
		return false
	}
	if h.failed == nil {
		h.failed = map[netip.AddrPort]time.Time{}
	}
	h.failed[server] = time.Now()
	return !before
}
