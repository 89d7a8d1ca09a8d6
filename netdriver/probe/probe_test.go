package probe

import (
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"tutti/netdriver/netns"
)

// lab is two namespaces with a cable between them: here has 10.7.0.1 and fd07::1, there 10.7.0.2 and fd07::2.
type lab struct {
	t           *testing.T
	here, there *netns.NS
}

func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{t: t}
	for _, ns := range []**netns.NS{&l.here, &l.there} {
		made, err := netns.NewBare()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(made.Close)
		*ns = made
	}
	l.sh(l.here, "ip link set lo up; ip link add eth0 type veth peer name eth0 netns "+l.there.Path())
	for ns, n := range map[*netns.NS]string{l.here: "1", l.there: "2"} {
		l.sh(ns, "ip link set lo up; ip addr add 10.7.0."+n+"/24 dev eth0; ip addr add fd07::"+n+"/64 dev eth0 nodad; ip link set eth0 up")
	}
	// The kernel tells others of a new link in its own time: what is sent before may get lost.
	up := Request{From: l.here, Proto: "icmp", To: netip.MustParseAddrPort("10.7.0.2:0"), Timeout: time.Second}
	for deadline := time.Now().Add(time.Minute); Send(t.Context(), up).State != Answered; {
		if time.Now().After(deadline) {
			t.Fatal("the cable does not come up")
		}
	}
	return l
}

func (l *lab) sh(ns *netns.NS, script string) {
	l.t.Helper()
	err := ns.Do(func() error {
		out, err := exec.CommandContext(l.t.Context(), "sh", "-ec", script).CombinedOutput()
		if err != nil {
			l.t.Errorf("%s: %s", script, out)
		}
		return err
	})
	if err != nil {
		l.t.Fatal(err)
	}
}

// listen opens sockets there until the test ends; those over UDP answer with what they get when that is not empty.
func (l *lab) listen(proto, addr string) {
	l.t.Helper()
	at := netip.MustParseAddrPort(addr)
	if proto == "tcp" {
		tcp, err := l.there.ListenTCP(at)
		if err != nil {
			l.t.Fatal(err)
		}
		l.t.Cleanup(func() { _ = tcp.Close() })
		return
	}
	udp, err := l.there.ListenUDP(at)
	if err != nil {
		l.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		echo(udp)
	}()
	l.t.Cleanup(func() { _ = udp.Close(); <-done })
}

func echo(c *net.UDPConn) {
	buf := make([]byte, 100)
	for {
		n, from, err := c.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		if n > 0 {
			_, _ = c.WriteToUDPAddrPort(buf[:n], from)
		}
	}
}

func TestSend(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.listen("tcp", "0.0.0.0:80")
	l.listen("tcp", "[::]:86")
	l.listen("tcp", "127.0.0.1:81")
	l.listen("tcp", "0.0.0.0:82")
	l.listen("tcp", "0.0.0.0:83")
	l.listen("udp", "0.0.0.0:53")
	l.sh(l.there, "iptables -w -A INPUT -p tcp --dport 82 -j DROP; iptables -w -A INPUT -p tcp --dport 83 -j REJECT --reject-with icmp-host-prohibited; iptables -w -A INPUT -p udp --dport 54 -j DROP")
	l.sh(l.here, "iptables -w -A OUTPUT -p tcp --dport 84 -j REJECT; iptables -w -A OUTPUT -p udp --dport 55 -j DROP")
	l.sh(l.here, "ip route add unreachable 10.8.0.0/24; ip route add 10.9.0.0/24 via 10.7.0.2")
	l.sh(l.there, "echo 1 > /proc/sys/net/ipv4/ip_forward")
	w, err := Watch(l.there, false)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for _, c := range []struct {
		proto, to, payload string
		want               State
		arrives            bool
	}{
		{"tcp", "10.7.0.2:80", "", Answered, true},
		{"tcp", "[fd07::2]:86", "", Answered, true},
		{"tcp", "10.7.0.2:86", "", Refused, true}, // for IPv6 alone
		{"tcp", "10.7.0.2:81", "", Refused, true},
		{"tcp", "10.7.0.2:82", "", Silent, true},
		{"tcp", "10.7.0.2:83", "", Unreachable, true},
		{"tcp", "10.7.0.2:84", "", Refused, false},
		{"tcp", "10.8.0.1:80", "", Unreachable, false},
		{"tcp", "10.10.0.1:80", "", NoRoute, false},
		{"tcp", "10.9.0.1:80", "", NoRoute, true}, // the router has none
		{"udp", "10.7.0.2:53", "hello", Answered, true},
		{"udp", "10.7.0.2:53", "", Silent, true},
		{"udp", "10.7.0.2:54", "x", Silent, true},
		{"udp", "10.7.0.2:56", "x", Refused, true},
		{"udp", "10.7.0.2:55", "x", Prohibited, false},
		{"icmp", "10.7.0.2:0", "", Answered, true},
		{"icmp", "[fd07::2]:0", "", Answered, true},
		{"icmp", "10.10.0.1:0", "", NoRoute, false},
		{"icmp", "10.7.0.1:0", "", Answered, false},
	} {
		t.Run(c.proto+" "+c.to+" "+c.payload, func(t *testing.T) {
			to := netip.MustParseAddrPort(c.to)
			timeout := 20 * time.Second
			if c.want == Silent {
				timeout = 300 * time.Millisecond
			}
			o := Send(t.Context(), Request{From: l.here, Proto: c.proto, To: to, Payload: []byte(c.payload), Timeout: timeout, Watch: w})
			if o.State != c.want {
				t.Errorf("%s: %v, want %s", o, o.Err, c.want)
			}
			if (o.Seen != nil) != c.arrives || o.Seen != nil && (o.Seen.Interface != "eth0" || o.Seen.Source != o.Source && o.Source.IsValid()) {
				t.Errorf("seen: %+v, want %t (sent from %v)", o.Seen, c.arrives, o.Source)
			}
			if string(o.Reply) != c.payload && c.want == Answered {
				t.Errorf("reply %q", o.Reply)
			}
		})
	}
}

// A watcher tells the packets of probes apart that go to the same place: what of one arrives is not taken for another's.
func TestWatchTellsProbesApart(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	lost, err := netns.NewBare() // nothing leaves it
	if err != nil {
		t.Fatal(err)
	}
	defer lost.Close()
	l.sh(lost, "ip link set lo up; ip route add 10.7.0.0/24 dev lo; iptables -w -A INPUT -j DROP")
	w, err := Watch(l.there, false)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	to := netip.MustParseAddrPort("10.7.0.2:9")
	l.sh(l.there, "iptables -w -A INPUT -j DROP")
	var wg sync.WaitGroup
	for _, proto := range []string{"tcp", "udp", "icmp"} {
		for ns, want := range map[*netns.NS]bool{l.here: true, lost: false} {
			wg.Go(func() {
				o := Send(t.Context(), Request{From: ns, Proto: proto, To: to, Timeout: 500 * time.Millisecond, Watch: w})
				if o.State != Silent || (o.Seen != nil) != want {
					t.Errorf("%s: %s, seen %+v, want %t", proto, o, o.Seen, want)
				}
			})
		}
	}
	wg.Wait()
}

// What leaves is seen as it is on the wire: with the address that it was given on its way.
func TestWatchLeaving(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.sh(l.here, "ip addr add 10.7.0.99/24 dev eth0; iptables -w -t nat -A POSTROUTING -o eth0 -j SNAT --to 10.7.0.99; iptables -w -A OUTPUT -p udp --dport 9 -j DROP")
	w, err := Watch(l.here, true)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for to, want := range map[string]string{"10.7.0.2:7": "10.7.0.99", "10.7.0.2:9": "", "127.0.0.1:7": ""} {
		at := netip.MustParseAddrPort(to)
		o := Send(t.Context(), Request{From: l.here, Proto: "udp", To: at, Timeout: 20 * time.Second, Watch: w})
		if got := o.Seen; got == nil && want != "" || got != nil && (got.Source.String() != want || got.Interface != "eth0") {
			t.Errorf("to %s: %s, seen %+v, want %q", to, o, got, want)
		}
	}
}

func TestSockets(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.listen("tcp", "0.0.0.0:80")
	l.listen("tcp", "127.0.0.1:81")
	l.listen("tcp", "[::]:82")
	l.listen("tcp", "[::1]:83")
	l.listen("udp", "10.7.0.2:53")
	conn, err := l.there.Dial(t.Context(), "udp", netip.MustParseAddrPort("10.7.0.1:9")) // has a peer: does not count
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	all, err := Sockets(l.there)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, b := range all {
		got = append(got, b.Proto+" "+b.Addr.String())
	}
	for _, want := range []string{"tcp 0.0.0.0:80", "tcp 127.0.0.1:81", "tcp [::]:82", "tcp [::1]:83", "udp 10.7.0.2:53"} {
		if n := strings.Count(strings.Join(got, ",")+",", want+","); n != 1 {
			t.Errorf("%s: %d times among %v", want, n, got)
		}
	}
	if len(got) != 5 {
		t.Errorf("got %v", got)
	}
}

func TestBoundTakes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		bound, to string
		want      bool
	}{
		{"0.0.0.0:80", "10.0.0.1:80", true},
		{"0.0.0.0:80", "10.0.0.1:81", false},
		{"0.0.0.0:80", "[fd00::1]:80", false},
		{"[::]:80", "10.0.0.1:80", true},
		{"[::]:80", "[fd00::1]:80", true},
		{"127.0.0.1:80", "10.0.0.1:80", false},
		{"10.0.0.1:80", "10.0.0.1:80", true},
	} {
		b := Bound{"tcp", netip.MustParseAddrPort(c.bound)}
		if got := b.Takes("tcp", netip.MustParseAddrPort(c.to)); got != c.want || b.Takes("udp", b.Addr) {
			t.Errorf("%s takes %s: %t", c.bound, c.to, got)
		}
	}
}
