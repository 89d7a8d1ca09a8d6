// Package dns is the resolver that containers find at 127.0.0.11:53.
//
// The engine opens the sockets inside each container's network namespace and
// hands them to [Server.Serve]; the socket a query comes in on tells who asks.
// Names come from a [Table], an immutable snapshot that is swapped whole, so a
// query sees either all of a change or nothing of it. A container sees only names
// on networks that it is on. All other names are forwarded to the host's resolvers
// from the host's own network namespace: this package never enters another one.
//
// What is answered, and where that is docker's behaviour (libnetwork/resolver.go):
//
//   - A, AAAA, PTR and ANY from the table with TTL 600, several addresses rotated;
//     "name.network" is known besides "name" [docker];
//   - SRV below a name of the table, "_80._tcp.web" or with the port's name "_http._tcp.web": every container behind
//     the name that has the port, with its addresses; a port that none has is NXDOMAIN;
//   - other types of a known name: an empty answer (docker does so for MX and
//     forwards the rest, which tells the upstream internal names and may answer NXDOMAIN);
//   - unknown names, single labels included, are forwarded [docker];
//   - a client on internal networks alone gets SERVFAIL for them [docker];
//   - an upstream that does not answer, or answers SERVFAIL or REFUSED, is followed by
//     the next one, three at most; after the last, SERVFAIL [docker];
//   - malformed requests are answered FORMERR, answers sent to us are dropped.
package dns

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Limits that keep a hostile container from exhausting the engine.
const (
	maxForwardsPerClient = 1024 // docker's
	maxForwards          = 4096 // of all clients: a goroutine, a socket and 4 KiB each
	maxStreamsPerClient  = 32   // TCP connections
	streamIdle           = 10 * time.Second
)

var errClosed = errors.New("the resolver has ended")

// Config is what a Server needs from outside.
type Config struct {
	// Upstreams lists the servers for names that are not in the table, the preferred
	// first; it is called once per forwarded query. See [HostUpstreams].
	Upstreams func() []netip.AddrPort
	// DialClient, when set, opens connections ("udp" or "tcp") to a client's own
	// upstreams from within its network namespace. Otherwise they are opened like all others.
	DialClient func(ctx context.Context, clientID, network string, server netip.AddrPort) (net.Conn, error)
	// Timeout is how long one upstream is waited for while there is another to
	// ask; the last one gets twice as long. 0 means 2 s.
	Timeout time.Duration
	// Log gets faults of sockets and upstreams; nil means slog.Default().
	Log *slog.Logger
}

// Server answers the queries of all clients of an engine.
type Server struct {
	config Config
	ctx    context.Context //nolint:containedctx // the server's own lifetime, of which each client's is a part
	cancel context.CancelFunc
	table  atomic.Pointer[Table]
	health health
	idle   time.Duration // streamIdle, but for tests
	active atomic.Int64  // forwards under way

	mu      sync.Mutex
	closed  bool
	clients map[string]*client
	poller  *poller // from the first client on
}

// New returns a server without clients and with an empty table. It ends with
// ctx or Close, whichever comes first.
func New(ctx context.Context, config Config) *Server {
	if config.Timeout == 0 {
		config.Timeout = 2 * time.Second
	}
	if config.Log == nil {
		config.Log = slog.Default()
	}
	if config.Upstreams == nil {
		config.Upstreams = func() []netip.AddrPort { return nil }
	}
	s := &Server{config: config, clients: map[string]*client{}, idle: streamIdle}
	s.ctx, s.cancel = context.WithCancel(ctx)
	s.table.Store(NewTable(nil, nil))
	return s
}

// Set makes t the table of all queries from now on. The engine sets it before it
// serves a new client: until the table knows the client, it gets SERVFAIL.
func (s *Server) Set(t *Table) { s.table.Store(t) }

// Serve begins to answer what arrives on the sockets, UDP over IPv4, and owns them from now on, also when it fails. Either
// may be nil. Clients served under the same id before are removed.
func (s *Server) Serve(clientID string, udp *net.UDPConn, tcp *net.TCPListener) error {
	c, err := newClient(s, clientID, udp, tcp)
	if err != nil {
		return err
	}
	old, err := s.enter(c)
	if err != nil {
		c.stop()
		return err
	}
	if old != nil {
		old.stop()
	}
	return nil
}

// enter starts a client, in place of the one that is returned.
func (s *Server) enter(c *client) (old *client, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errClosed
	}
	if s.poller == nil {
		if s.poller, err = startPoller(s.ctx); err != nil {
			return nil, err
		}
	}
	if err := c.start(s.poller); err != nil {
		return nil, err
	}
	old = s.clients[c.id]
	s.clients[c.id] = c
	return old, nil
}

// Remove closes the client's sockets and returns when nothing of it is left
// running. An unknown client is no error.
func (s *Server) Remove(clientID string) {
	s.mu.Lock()
	c := s.clients[clientID]
	delete(s.clients, clientID)
	s.mu.Unlock()
	if c != nil {
		c.stop()
	}
}

// Close removes all clients. The server cannot be used again.
func (s *Server) Close() {
	s.mu.Lock()
	clients := s.clients
	s.clients, s.closed = nil, true
	p := s.poller
	s.mu.Unlock()
	s.cancel()
	for _, c := range clients {
		c.stop()
	}
	if p != nil {
		p.done.Wait()
	}
}

// client is one container's pair of sockets. Idle, it costs one goroutine, that of the TCP socket.
type client struct {
	server   *Server
	id       string
	ctx      context.Context //nolint:containedctx // the client's own lifetime
	cancel   context.CancelFunc
	udp      int     // descriptor, or -1
	poller   *poller // that waits for udp, once it does
	segments bool    // the poller's: see batch.write
	tcp      *net.TCPListener
	running  sync.WaitGroup
	forwards atomic.Int64
	streams  atomic.Int64
}

func newClient(s *Server, id string, udp *net.UDPConn, tcp *net.TCPListener) (*client, error) {
	c := &client{server: s, id: id, udp: -1, tcp: tcp, segments: true}
	c.ctx, c.cancel = context.WithCancel(s.ctx)
	if udp != nil {
		var err error
		if c.udp, err = takeSocket(udp); err != nil {
			c.stop()
			return nil, err
		}
	}
	return c, nil
}

func (c *client) start(p *poller) error {
	if c.udp >= 0 {
		if err := p.add(c); err != nil {
			return err
		}
		c.poller = p
	}
	if c.tcp != nil {
		context.AfterFunc(c.ctx, func() { _ = c.tcp.Close() })
		c.running.Go(c.serveTCP)
	}
	return nil
}

// stop closes the sockets, also of a client that never started, and returns when nothing of it is left running.
func (c *client) stop() {
	if c.poller != nil {
		c.poller.remove(c)
	}
	c.cancel()
	if c.tcp != nil {
		_ = c.tcp.Close() // not left to AfterFunc alone: the port is free when stop returns
	}
	c.running.Wait()
	if c.udp >= 0 {
		_ = unix.Close(c.udp)
	}
}

// view is the table as the client sees it now; nil as long as the table does not know the client.
func (c *client) view() *view { return c.server.table.Load().clients[c.id] }

// respond answers a request in msg, whose array is reused for the answer. It
// returns nil when nothing is to be sent, and forward=true, with a place acquired,
// when q has to be asked elsewhere. A stream takes answers of any size.
func (c *client) respond(v *view, msg []byte, q *query, stream bool) (answer []byte, forward bool) {
	switch parseQuery(msg, q) {
	case dropped:
		return nil, false
	case malformed:
		return answerHeader(msg, rcodeFormErr), false
	case refusedOp:
		return answerHeader(msg, rcodeNotImp), false
	case badVers:
		return answerCode(msg, q, rcodeBadVers), false
	case wellFormed:
	}
	if v == nil {
		return answerCode(msg, q, rcodeServFail), false
	}
	if q.qtype == typeAXFR || q.qtype == typeIXFR {
		return answerCode(msg, q, rcodeRefused), false
	}
	if q.qclass == classINET {
		limit := maxStreamAnswer
		if !stream {
			limit = min(q.udpSize, udpPayload)
		}
		if e := v.lookup(q.key()); e != nil {
			return answerEntry(msg, q, e, limit), false
		}
		if s, ok := v.service(q.key()); ok {
			return answerServices(msg, q, s, limit), false
		}
		if v.LocalSingle && q.singleLabel() && (q.qtype == typeA || q.qtype == typeAAAA) {
			return answerCode(msg, q, rcodeSuccess), false
		}
	}
	if !c.server.forwardable(v) {
		return answerCode(msg, q, rcodeServFail), false
	}
	if !c.acquire() {
		return answerCode(msg, q, rcodeRefused), false
	}
	return nil, true
}

// acquire takes a place for a forward, to be given back with release.
func (c *client) acquire() bool {
	if c.forwards.Add(1) > maxForwardsPerClient {
		c.forwards.Add(-1)
		return false
	}
	if c.server.active.Add(1) > maxForwards {
		c.release()
		return false
	}
	return true
}

func (c *client) release() {
	c.server.active.Add(-1)
	c.forwards.Add(-1)
}

// ended says whether a socket error means that the client was removed; any
// other is logged, and what failed is tried again after a moment.
func (c *client) ended(what string, err error) bool {
	if c.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
		return true
	}
	c.server.config.Log.Warn("resolver: "+what, "container", c.id, "error", err)
	pause := time.NewTimer(100 * time.Millisecond) // out of descriptors or memory: no event tells when they are back
	defer pause.Stop()
	select {
	case <-c.ctx.Done():
		return true
	case <-pause.C:
		return false
	}
}
