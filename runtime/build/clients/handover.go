package clients

import (
	"context"
	"net"
	"strconv"
	"sync"
)

// handover is a listener for connections that somebody else has accepted.
type handover struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newHandover() *handover {
	return &handover{conns: make(chan net.Conn), done: make(chan struct{})}
}

func (h *handover) hand(ctx context.Context, c net.Conn) error {
	select {
	case h.conns <- c:
		return nil
	case <-h.done:
		return ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Accept returns the next connection that is handed over.
func (h *handover) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

// Close makes Accept return net.ErrClosed.
func (h *handover) Close() error {
	h.once.Do(func() { close(h.done) })
	return nil
}

// Addr is that of the engine's socket in name only.
func (h *handover) Addr() net.Addr { return Peer(0) }

// Peer is the user at the other end of a connection, by uid.
type Peer uint32

// Network is that of a unix socket.
func (Peer) Network() string { return "unix" }

func (p Peer) String() string { return "uid " + strconv.FormatUint(uint64(p), 10) }

// handed is a connection whose end somebody waits for.
type handed struct {
	net.Conn
	peer Peer
	gone chan struct{} // closed with it
	once sync.Once
}

// RemoteAddr is a Peer.
func (c *handed) RemoteAddr() net.Addr { return c.peer }

// Close may be called several times.
func (c *handed) Close() (err error) {
	c.once.Do(func() {
		err = c.Conn.Close()
		close(c.gone)
	})
	return err
}
