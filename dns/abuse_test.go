package dns

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	mdns "github.com/miekg/dns"
)

// An answer that is right in everything but comes from another address than was asked is not taken.
func TestForwardIgnoresOtherSources(t *testing.T) {
	t.Parallel()
	other, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	up := newUpstream(t, func(w mdns.ResponseWriter, m *mdns.Msg) {
		forged := new(mdns.Msg).SetReply(m)
		forged.Answer = []mdns.RR{&mdns.A{
			Hdr: mdns.RR_Header{Name: m.Question[0].Name, Rrtype: mdns.TypeA, Class: mdns.ClassINET, Ttl: 5}, A: net.IPv4(6, 6, 6, 6),
		}}
		packet, _ := forged.Pack()
		if _, err := other.WriteTo(packet, w.RemoteAddr()); err != nil {
			t.Error(err)
		}
		echo(w, m)
	})
	at := forwarding(t, Config{Upstreams: use(up.addr)})
	for range 10 {
		if got := values(ask(t, "udp", at, "example.org.", mdns.TypeA)); len(got) != 1 || got[0] != "192.0.2.1" {
			t.Errorf("got %v", got)
		}
	}
}

// openStream connects to a server.
func openStream(t *testing.T, at string) *mdns.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(2 * time.Minute))
	return &mdns.Conn{Conn: conn}
}

// What waits for an upstream does not hold up what comes behind it on the same connection, and is answered in its turn,
// also when the client has nothing more to ask.
func TestStreamAnswersWhatIsReady(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	up := newUpstream(t, func(w mdns.ResponseWriter, m *mdns.Msg) {
		<-release
		echo(w, m)
	})
	s := newServer(t, Config{Upstreams: use(up.addr), Timeout: time.Minute})
	s.Set(theTable())
	conn := openStream(t, serveOn(t, s, "web"))
	for i, name := range []string{"example.org.", "web.", "api."} {
		m := new(mdns.Msg).SetQuestion(name, mdns.TypeA)
		m.Id = uint16(i)
		if err := conn.WriteMsg(m); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.Conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	for _, want := range []uint16{1, 2, 0} {
		if want == 0 {
			close(release)
		}
		in, err := conn.ReadMsg()
		if err != nil || in.Id != want || len(in.Answer) != 1 {
			t.Fatalf("answer %v, %v; want the one to question %d", in, err, want)
		}
	}
	if _, err := conn.ReadMsg(); !errors.Is(err, io.EOF) {
		t.Errorf("after the last answer: %v", err)
	}
}

// Who opens a connection and says nothing, or begins a message and does not end it, loses it.
func TestStreamIdle(t *testing.T) {
	t.Parallel()
	s := newServer(t, Config{})
	s.idle = 50 * time.Millisecond
	s.Set(theTable())
	at := serveOn(t, s, "web")
	for _, begin := range []string{"", "\x00", "\x00\x10abc"} {
		conn := openStream(t, at)
		if _, err := conn.Conn.Write([]byte(begin)); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("%q: %v", begin, err)
		}
	}
}

// A flood of names for an upstream that is silent takes no more than its places, and names of the table are
// answered meanwhile.
func TestFloodIsBounded(t *testing.T) {
	t.Parallel()
	silent := silentPort(t)
	s := newServer(t, Config{Upstreams: use(silent), Timeout: time.Minute})
	s.Set(theTable())
	at := serveOn(t, s, "web")
	conn, err := net.Dial("udp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	request, err := new(mdns.Msg).SetQuestion("flood.example.", mdns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(2 * time.Minute))
	refused := make(chan int)
	go func() {
		n, buf := 0, make([]byte, packetBuffer)
		for n < 200 {
			if _, err := conn.Read(buf); err != nil || buf[3]&15 != mdns.RcodeRefused {
				t.Errorf("answer %q: %v", buf[:12], err)
				break
			}
			n++
		}
		refused <- n
	}()
	for i := 0; ; i++ {
		select {
		case n := <-refused:
			if n != 200 || s.active.Load() > maxForwardsPerClient {
				t.Errorf("%d refused, %d under way", n, s.active.Load())
			}
			return
		default:
		}
		if _, err := conn.Write(request); err != nil {
			t.Fatal(err)
		}
		if n := s.active.Load(); n > maxForwardsPerClient+1 { // one may be about to be refused
			t.Errorf("%d forwards under way", n)
		}
		if i%500 == 0 {
			if got := values(ask(t, "tcp", at, "web.", mdns.TypeA)); len(got) != 1 { // a datagram may find no room
				t.Errorf("a name of the table: %v", got)
			}
		}
	}
}
