package dns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	mdns "github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

var quiet = slog.New(slog.DiscardHandler)

// addrs parses addresses.
func addrs(list ...string) []netip.Addr {
	var out []netip.Addr
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

// serveOn gives a client real sockets on the loopback and returns their address.
func serveOn(t testing.TB, s *Server, clientID string) string {
	t.Helper()
	udp, tcp := listen(t)
	if err := s.Serve(clientID, udp, tcp); err != nil {
		t.Fatal(err)
	}
	return tcp.Addr().String()
}

// bareClient has no sockets.
func bareClient(t testing.TB, s *Server, id string) *client {
	t.Helper()
	c, err := newClient(s, id, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.stop)
	return c
}

// listen opens sockets on the loopback with the same port, which another test may have for one of them.
func listen(t testing.TB) (*net.UDPConn, *net.TCPListener) {
	t.Helper()
	for {
		tcp, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		udp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: tcp.Addr().(*net.TCPAddr).Port})
		if err == nil {
			return udp, tcp
		}
		_ = tcp.Close()
		if !errors.Is(err, unix.EADDRINUSE) {
			t.Fatal(err)
		}
	}
}

func newServer(t testing.TB, c Config) *Server {
	t.Helper()
	c.Log = quiet
	if c.Timeout == 0 {
		c.Timeout = time.Minute // where the test is not about it
	}
	s := New(t.Context(), c)
	t.Cleanup(s.Close)
	return s
}

// ask sends one question by a client of another maker.
func ask(t testing.TB, network, server, name string, qtype uint16, change ...func(*mdns.Msg)) *mdns.Msg {
	t.Helper()
	m := new(mdns.Msg).SetQuestion(name, qtype)
	for _, f := range change {
		f(m)
	}
	client := &mdns.Client{Net: network, Timeout: 2 * time.Minute}
	in, _, err := client.ExchangeContext(t.Context(), m, server)
	if err != nil {
		t.Fatalf("%s %s over %s: %v", name, mdns.TypeToString[qtype], network, err)
	}
	return in
}

// values are the addresses and names in the answer section, in order.
func values(m *mdns.Msg) []string {
	list := []string{}
	for _, rr := range m.Answer {
		switch r := rr.(type) {
		case *mdns.A:
			list = append(list, r.A.String())
		case *mdns.AAAA:
			list = append(list, r.AAAA.String())
		case *mdns.PTR:
			list = append(list, r.Ptr)
		case *mdns.SRV:
			list = append(list, fmt.Sprint(r.Port, " ", r.Target))
		case *mdns.TXT:
			list = append(list, r.Txt...)
		}
	}
	return list
}

// upstream is a real DNS server on the loopback, UDP and TCP on one port.
type upstream struct {
	addr    netip.AddrPort
	queries atomic.Int64
}

func newUpstream(t testing.TB, handle mdns.HandlerFunc) *upstream {
	t.Helper()
	udp, tcp := listen(t)
	u := &upstream{addr: tcp.Addr().(*net.TCPAddr).AddrPort()}
	counted := mdns.HandlerFunc(func(w mdns.ResponseWriter, m *mdns.Msg) {
		u.queries.Add(1)
		handle(w, m)
	})
	for _, server := range []*mdns.Server{{PacketConn: udp, Handler: counted}, {Listener: tcp, Handler: counted}} {
		ended := make(chan error, 1)
		started := make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		go func() { ended <- server.ActivateAndServe() }()
		<-started
		t.Cleanup(func() {
			_ = server.ShutdownContext(context.WithoutCancel(t.Context()))
			<-ended
		})
	}
	return u
}

// echo answers every question with one TXT-free address record, 192.0.2.1.
func echo(w mdns.ResponseWriter, m *mdns.Msg) {
	r := new(mdns.Msg).SetReply(m)
	r.Answer = []mdns.RR{&mdns.A{
		Hdr: mdns.RR_Header{Name: m.Question[0].Name, Rrtype: mdns.TypeA, Class: mdns.ClassINET, Ttl: 5},
		A:   net.IPv4(192, 0, 2, 1),
	}}
	_ = w.WriteMsg(r)
}

func use(list ...netip.AddrPort) func() []netip.AddrPort {
	return func() []netip.AddrPort { return list }
}

// deadPort is an address nobody listens on.
func deadPort(t testing.TB) netip.AddrPort {
	t.Helper()
	l, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.LocalAddr().(*net.UDPAddr).AddrPort()
}

// silentPort is an address that takes packets and never answers.
func silentPort(t testing.TB) netip.AddrPort {
	t.Helper()
	l, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.LocalAddr().(*net.UDPAddr).AddrPort()
}
