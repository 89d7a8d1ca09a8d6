package dns

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	mdns "github.com/miekg/dns"
)

func forwarding(t testing.TB, c Config, clients ...Client) string {
	t.Helper()
	if len(clients) == 0 {
		clients = []Client{{ID: "c"}}
	}
	s := newServer(t, c)
	s.Set(NewTable(nil, clients))
	return serveOn(t, s, clients[0].ID)
}

func TestForward(t *testing.T) {
	t.Parallel()
	up := newUpstream(t, echo)
	at := forwarding(t, Config{Upstreams: use(up.addr)})
	for _, network := range []string{"udp", "tcp"} {
		for _, name := range []string{"Example.ORG.", "single."} {
			in := ask(t, network, at, name, mdns.TypeA)
			if got := values(in); len(got) != 1 || got[0] != "192.0.2.1" || in.Question[0].Name != name {
				t.Errorf("%s over %s: %v", name, network, in)
			}
		}
	}
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			if got := values(ask(t, "udp", at, "example.org.", mdns.TypeA)); len(got) != 1 {
				t.Errorf("got %v", got)
			}
		})
	}
	wg.Wait()
}

func TestForwardKeepsNXDomain(t *testing.T) {
	t.Parallel()
	up := newUpstream(t, func(w mdns.ResponseWriter, m *mdns.Msg) {
		_ = w.WriteMsg(new(mdns.Msg).SetRcode(m, mdns.RcodeNameError))
	})
	at := forwarding(t, Config{Upstreams: use(up.addr)})
	if in := ask(t, "udp", at, "no.example.", mdns.TypeA); in.Rcode != mdns.RcodeNameError {
		t.Errorf("got %v", in)
	}
}

func TestForwardNextUpstream(t *testing.T) {
	t.Parallel()
	good := newUpstream(t, echo)
	failing := newUpstream(t, func(w mdns.ResponseWriter, m *mdns.Msg) {
		_ = w.WriteMsg(new(mdns.Msg).SetRcode(m, mdns.RcodeServerFailure))
	})
	bare := newUpstream(t, func(w mdns.ResponseWriter, m *mdns.Msg) {
		r := new(mdns.Msg).SetRcode(m, mdns.RcodeRefused)
		r.Question = nil
		_ = w.WriteMsg(r)
	})
	for name, first := range map[string]netip.AddrPort{
		"closed port": deadPort(t), "silent": silentPort(t), "SERVFAIL": failing.addr, "REFUSED without question": bare.addr,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at := forwarding(t, Config{Upstreams: use(first, good.addr), Timeout: 2 * time.Second})
			for _, network := range []string{"udp", "tcp"} {
				if got := values(ask(t, network, at, "example.org.", mdns.TypeA)); len(got) != 1 {
					t.Errorf("over %s: got %v", network, got)
				}
			}
		})
	}
}

func TestDeadUpstreamDelaysOneQuery(t *testing.T) {
	t.Parallel()
	dead, good := silentPort(t), newUpstream(t, echo).addr
	s := newServer(t, Config{Upstreams: use(dead, good), Timeout: 2 * time.Second})
	s.Set(NewTable(nil, []Client{{ID: "c"}}))
	ask(t, "udp", serveOn(t, s, "c"), "first.example.", mdns.TypeA)
	if order := s.health.order([]netip.AddrPort{dead, good}); order[0] != good || order[1] != dead {
		t.Errorf("asked in the order %v", order)
	}
	s.health.failed[dead] = time.Now().Add(-unhealthyFor)
	if order := s.health.order([]netip.AddrPort{dead, good}); order[0] != dead {
		t.Error("the first server does not get another chance")
	}
}

func TestForwardAllDead(t *testing.T) {
	t.Parallel()
	at := forwarding(t, Config{Upstreams: use(deadPort(t), deadPort(t))})
	for _, network := range []string{"udp", "tcp"} {
		if in := ask(t, network, at, "example.org.", mdns.TypeA); in.Rcode != mdns.RcodeServerFailure || in.Question[0].Name != "example.org." {
			t.Errorf("over %s: %v", network, in)
		}
	}
}

// txt answers with n bytes of text, truncated as a server must.
func txt(n int) mdns.HandlerFunc {
	return func(w mdns.ResponseWriter, m *mdns.Msg) {
		r := new(mdns.Msg).SetReply(m)
		for range n / 200 {
			r.Answer = append(r.Answer, &mdns.TXT{
				Hdr: mdns.RR_Header{Name: m.Question[0].Name, Rrtype: mdns.TypeTXT, Class: mdns.ClassINET},
				Txt: []string{strings.Repeat("x", 200)},
			})
		}
		if _, udp := w.RemoteAddr().(*net.UDPAddr); udp {
			size := mdns.MinMsgSize
			if opt := m.IsEdns0(); opt != nil {
				r.SetEdns0(1232, false)
				size = min(1232, max(size, int(opt.UDPSize())))
			}
			r.Truncate(size)
		}
		_ = w.WriteMsg(r)
	}
}

func TestForwardLargeAnswers(t *testing.T) {
	t.Parallel()
	at := forwarding(t, Config{Upstreams: use(newUpstream(t, txt(3000)).addr)})
	if in := ask(t, "udp", at, "big.example.", mdns.TypeTXT); !in.Truncated {
		t.Error("plain UDP: not truncated")
	}
	if in := ask(t, "udp", at, "big.example.", mdns.TypeTXT, func(m *mdns.Msg) { m.SetEdns0(1232, false) }); !in.Truncated {
		t.Error("EDNS 1232: not truncated")
	}
	// A client that takes 4096 bytes gets the whole, fetched over TCP.
	if in := ask(t, "udp", at, "big.example.", mdns.TypeTXT, func(m *mdns.Msg) { m.SetEdns0(4096, false) }); in.Truncated || len(in.Answer) != 15 {
		t.Errorf("EDNS 4096: %d records, truncated %t", len(in.Answer), in.Truncated)
	}
	if in := ask(t, "tcp", at, "big.example.", mdns.TypeTXT); in.Truncated || len(in.Answer) != 15 {
		t.Errorf("TCP: %d records, truncated %t", len(in.Answer), in.Truncated)
	}
}

// A server that ignores the 512 bytes must not make us send more than the client takes.
func TestForwardCutsOversized(t *testing.T) {
	t.Parallel()
	up := newUpstream(t, func(w mdns.ResponseWriter, m *mdns.Msg) {
		r := new(mdns.Msg).SetReply(m)
		for range 5 {
			r.Answer = append(r.Answer, &mdns.TXT{
				Hdr: mdns.RR_Header{Name: m.Question[0].Name, Rrtype: mdns.TypeTXT, Class: mdns.ClassINET},
				Txt: []string{strings.Repeat("x", 200)},
			})
		}
		_ = w.WriteMsg(r)
	})
	at := forwarding(t, Config{Upstreams: use(up.addr)})
	if in := ask(t, "udp", at, "big.example.", mdns.TypeTXT); !in.Truncated || len(in.Answer) != 0 {
		t.Errorf("got %v", in)
	}
}

// Answers with a wrong id or question, as a blind forger sends them, are not taken.
func TestForwardIgnoresForgeries(t *testing.T) {
	t.Parallel()
	up := newUpstream(t, func(w mdns.ResponseWriter, m *mdns.Msg) {
		forged := new(mdns.Msg).SetReply(m)
		forged.Id++
		_ = w.WriteMsg(forged)
		forged = new(mdns.Msg).SetReply(m)
		forged.Question[0].Name = "other.example."
		_ = w.WriteMsg(forged)
		_, _ = w.Write([]byte("garbage"))
		echo(w, m)
	})
	at := forwarding(t, Config{Upstreams: use(up.addr)})
	if got := values(ask(t, "udp", at, "example.org.", mdns.TypeA)); len(got) != 1 || got[0] != "192.0.2.1" {
		t.Errorf("got %v", got)
	}
}

func TestForwardUsesOwnIDs(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	ids, ports := map[uint16]bool{}, map[string]bool{}
	up := newUpstream(t, func(w mdns.ResponseWriter, m *mdns.Msg) {
		mu.Lock()
		ids[m.Id], ports[w.RemoteAddr().String()] = true, true
		mu.Unlock()
		echo(w, m)
	})
	at := forwarding(t, Config{Upstreams: use(up.addr)})
	for range 20 {
		in := ask(t, "udp", at, "example.org.", mdns.TypeA, func(m *mdns.Msg) { m.Id = 7 })
		if in.Id != 7 {
			t.Fatalf("id %d came back", in.Id)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(ids) < 18 || len(ports) < 18 {
		t.Errorf("20 queries had %d ids and %d ports", len(ids), len(ports))
	}
}

func TestInternalClients(t *testing.T) {
	t.Parallel()
	host, own := newUpstream(t, echo), newUpstream(t, echo)
	var dialled []string
	config := Config{
		Upstreams: use(host.addr),
		DialClient: func(ctx context.Context, id, network string, server netip.AddrPort) (net.Conn, error) {
			dialled = append(dialled, id)
			return (&net.Dialer{}).DialContext(ctx, network, server.String())
		},
	}
	at := forwarding(t, config, Client{ID: "in", Internal: true})
	if in := ask(t, "udp", at, "example.org.", mdns.TypeA); in.Rcode != mdns.RcodeServerFailure {
		t.Errorf("internal: %v", in)
	}
	at = forwarding(t, config, Client{ID: "own", Internal: true, Upstreams: []netip.AddrPort{own.addr}})
	if got := values(ask(t, "udp", at, "example.org.", mdns.TypeA)); len(got) != 1 || len(dialled) != 1 || dialled[0] != "own" {
		t.Errorf("internal with a server of its own: %v, dialled by %v", got, dialled)
	}
	config.DialClient = nil
	at = forwarding(t, config, Client{ID: "own", Internal: true, Upstreams: []netip.AddrPort{own.addr}})
	if in := ask(t, "udp", at, "example.org.", mdns.TypeA); in.Rcode != mdns.RcodeServerFailure {
		t.Errorf("internal without a way in: %v", in)
	}
	if host.queries.Load() != 0 || own.queries.Load() != 1 {
		t.Errorf("host's server got %d queries, the own one %d", host.queries.Load(), own.queries.Load())
	}
}
