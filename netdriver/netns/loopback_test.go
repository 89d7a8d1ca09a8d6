package netns

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// A container that has switched route_localnet on must not let its neighbours ask its resolver. An ordinary socket on the
// same address beside it shows that their packets do arrive.
func TestListenLoopbackTakesNothingFromOutside(t *testing.T) {
	t.Parallel()
	inside, outside := newNS(t), newNS(t)
	ip := func(ns *NS, script string) {
		t.Helper()
		err := ns.Do(func() error {
			out, err := exec.CommandContext(t.Context(), "sh", "-ec", script).CombinedOutput()
			if err != nil {
				t.Errorf("%s: %s", script, out)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	ip(inside, "ip link set lo up; ip link add eth0 type veth peer name eth0 netns "+outside.Path()+"; ip addr add 10.1.0.1/24 dev eth0; ip link set eth0 up")
	ip(outside, "ip link set lo up; ip addr add 10.1.0.2/24 dev eth0; ip link set eth0 up")
	for _, ns := range []*NS{inside, outside} {
		ip(ns, "echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet")
	}
	ip(outside, "ip rule add pref 1 to 127.0.0.11 lookup 7; ip route add 127.0.0.11 via 10.1.0.1 table 7; ip rule del pref 0; ip rule add pref 2 lookup local")

	udp, tcp, err := inside.ListenLoopback(t.Context(), netip.MustParseAddrPort("127.0.0.11:53"))
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	defer tcp.Close()
	open, err := inside.ListenUDP(netip.MustParseAddrPort("127.0.0.11:54"))
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()

	send := func(ns *NS, to string) {
		t.Helper()
		conn, err := ns.Dial(t.Context(), "udp", netip.MustParseAddrPort(to))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write([]byte(strings.TrimSpace(to))); err != nil {
			t.Fatal(err)
		}
	}
	receive := func(conn *net.UDPConn) (string, error) {
		buf := make([]byte, 100)
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		return string(buf[:n]) + " " + from.Addr().String(), err
	}
	send(outside, "127.0.0.11:53")
	send(outside, "127.0.0.11:54") // behind the other one: when it is there, that one would be
	_ = open.SetReadDeadline(time.Now().Add(2 * time.Minute))
	if got, err := receive(open); err != nil || got != "127.0.0.11:54 10.1.0.2" {
		t.Fatalf("an ordinary socket: %q, %v", got, err)
	}
	_ = udp.SetReadDeadline(time.Now())
	if got, err := receive(udp); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("from outside: %q, %v", got, err)
	}
	send(inside, "127.0.0.11:53")
	_ = udp.SetReadDeadline(time.Now().Add(2 * time.Minute))
	if got, err := receive(udp); err != nil || got != "127.0.0.11:53 127.0.0.1" {
		t.Errorf("from inside: %q, %v", got, err)
	}
}
