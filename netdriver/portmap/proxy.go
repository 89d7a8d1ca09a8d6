package portmap

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Limits of the proxy.
const (
	dialTimeout = 10 * time.Second
	udpIdle     = 90 * time.Second // as Docker's proxy: a client that is silent is forgotten
	udpFlows    = 4096             // clients of a port at a time: their addresses can be forged
	udpSize     = 65535
	acceptPause = 50 * time.Millisecond // after an error, say, too many open files
)

// acceptTCP leads connections to the target until the socket is closed.
func (s *Socket) acceptTCP() {
	for {
		client, err := s.tcp.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			select {
			case <-time.After(acceptPause):
				continue
			case <-s.ctx.Done():
				return
			}
		}
		s.work.Go(func() { s.relayTCP(client) })
	}
}

// relayTCP copies both ways until both ends have said all, or the socket is closed.
func (s *Socket) relayTCP(client *net.TCPConn) {
	defer client.Close()
	server, err := s.dial()
	if err != nil {
		_ = client.SetLinger(0) // a reset tells the client that nobody is there
		return
	}
	defer server.Close()
	defer context.AfterFunc(s.ctx, func() {
		_ = client.Close()
		_ = server.Close()
	})()
	var both sync.WaitGroup
	copyTo := func(to, from *net.TCPConn) {
		_, _ = io.Copy(to, from) // splice(2); an error shows as the end to the other side
		_ = to.CloseWrite()
	}
	both.Go(func() { copyTo(server.(*net.TCPConn), client) })
	copyTo(client, server.(*net.TCPConn))
	both.Wait()
}

// relayUDP leads datagrams to the target, with a connection for each client so that answers
// find their way back.
func (s *Socket) relayUDP() {
	var mu sync.Mutex
	flows := map[netip.AddrPort]net.Conn{}
	buf := make([]byte, udpSize)
	for {
		n, client, err := s.udp.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // an ICMP error of an answer
		}
		mu.Lock()
		server, known, full := flows[client], flows[client] != nil, len(flows) >= udpFlows
		mu.Unlock()
		if !known {
			if full {
				continue
			}
			if server, err = s.dial(); err != nil {
				continue
			}
			mu.Lock()
			flows[client] = server
			mu.Unlock()
			s.work.Go(func() {
				s.answerUDP(client, server)
				mu.Lock()
				delete(flows, client)
				mu.Unlock()
			})
		}
		_ = server.SetReadDeadline(time.Now().Add(udpIdle))
		_, _ = server.Write(buf[:n]) // datagrams may get lost
	}
}

// answerUDP leads answers back to the client until it was silent for long.
func (s *Socket) answerUDP(client netip.AddrPort, server net.Conn) {
	defer server.Close()
	defer context.AfterFunc(s.ctx, func() { _ = server.Close() })()
	buf := make([]byte, udpSize)
	for {
		n, err := server.Read(buf)
		var timeout net.Error
		if errors.Is(err, net.ErrClosed) || errors.As(err, &timeout) && timeout.Timeout() {
			return
		}
		if err == nil { // otherwise an ICMP error: nobody listens yet
			_, _ = s.udp.WriteToUDPAddrPort(buf[:n], client)
		}
	}
}

func (s *Socket) dial() (net.Conn, error) {
	ctx, cancel := context.WithTimeout(s.ctx, dialTimeout)
	defer cancel()
	return s.host.Dial(ctx, s.Proto(), *s.target.Load())
}
