package netdriver

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestPortTaken(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	d := l.driver()
	net := l.network(d, "net", nil)
	l.box(d, "web", net)
	l.box(d, "api", net)
	listener, err := l.host.ListenTCP(netip.MustParseAddrPort("127.0.0.1:8080"))
	l.must(err)
	defer listener.Close()
	comm, err := os.ReadFile("/proc/self/comm")
	l.must(err)
	me := fmt.Sprintf("%d (%s)", os.Getpid(), strings.TrimSpace(string(comm)))
	before := l.run("iptables-save -t nat")

	_, err = d.Publish(t.Context(), "web", []PortSpec{{HostPort: 7070, ContainerPort: 70}, {HostPort: 8080, ContainerPort: 80}})
	if !errors.Is(err, ErrPortTaken) || !strings.Contains(err.Error(), "0.0.0.0:8080/tcp, by "+me) {
		t.Errorf("taken by a program: %v", err)
	}
	if after := l.run("iptables-save -t nat"); after != before {
		t.Errorf("a failed publication left rules:\n%s", after)
	}
	if _, err = d.Publish(t.Context(), "web", []PortSpec{{HostPort: 7070, ContainerPort: 70}}); err != nil {
		t.Errorf("a failed publication left the port taken: %v", err)
	}
	_, err = d.Publish(t.Context(), "api", []PortSpec{{HostPort: 7070, ContainerPort: 70}})
	if !errors.Is(err, ErrPortTaken) || !strings.Contains(err.Error(), "by container web") {
		t.Errorf("taken by a container: %v", err)
	}
	_, err = d.Publish(t.Context(), "api", []PortSpec{{HostPort: 7070, HostPortEnd: 7070, ContainerPort: 70, HostIP: netip.MustParseAddr("203.0.113.9")}})
	if !errors.Is(err, unix.EADDRNOTAVAIL) || !strings.Contains(err.Error(), "no address of this host") {
		t.Errorf("an address of somebody else: %v", err)
	}
	if _, err = d.Publish(t.Context(), "api", []PortSpec{{Proto: "sctp", HostPort: 1, ContainerPort: 1}}); err == nil || !strings.Contains(err.Error(), "sctp") {
		t.Errorf("sctp: %v", err)
	}
	if _, err = d.Publish(t.Context(), "nobody", []PortSpec{{ContainerPort: 1}}); err == nil {
		t.Error("a container without a network has a port")
	}
}

func TestPortsRangesAndEphemeral(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	d := l.driver()
	net := l.network(d, "net", nil)
	box := l.box(d, "box", net)
	l.serve(box.ns, "box", 80)
	listener, err := l.host.ListenTCP(netip.MustParseAddrPort("[::]:9000"))
	l.must(err)
	defer listener.Close()

	ports, err := d.Publish(t.Context(), "box", []PortSpec{
		{HostPort: 9000, HostPortEnd: 9002, ContainerPort: 80},
		{ContainerPort: 80, HostIP: netip.MustParseAddr("127.0.0.1")},
	})
	l.must(err)
	if len(ports) != 3 || ports[0].HostPort != 9001 || ports[1].HostPort != 9001 {
		t.Fatalf("the first free one of 9000-9002 is 9001, got %+v", ports)
	}
	if p := ports[2].HostPort; p < 32768 || p > 60999 {
		t.Errorf("%d is no ephemeral port", p)
	}
	l.reaches("from a range", l.outside, "tcp", hostIP+":9001", "box", outsideIP)
	local := fmt.Sprint(":", ports[2].HostPort)
	l.reaches("on localhost", l.host, "tcp", "127.0.0.1"+local, "box", "")
	l.blocked("on localhost, from outside", l.outside, "tcp", hostIP+local)
	l.blocked("on localhost, by the host's address", l.host, "tcp", hostIP+local)

	l.box(d, "other", net)
	_, err = d.Publish(t.Context(), "other", []PortSpec{{HostPort: 9000, HostPortEnd: 9001, ContainerPort: 80}})
	if !errors.Is(err, ErrPortTaken) || !strings.Contains(err.Error(), "9000-9001") {
		t.Errorf("a range that is taken: %v", err)
	}
}

// A port passes from one container to the next while a client goes on sending to it.
func TestPortMovesOn(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	d := l.driver()
	net := l.network(d, "net", nil)
	client, err := l.outside.Dial(t.Context(), "udp", netip.MustParseAddrPort(hostIP+":53"))
	l.must(err)
	defer client.Close()
	for _, name := range []string{"old", "new", "newest"} {
		box := l.box(d, name, net)
		l.serve(box.ns, name, 53)
		_, err := d.Publish(t.Context(), name, []PortSpec{{Proto: "udp", HostPort: 53, ContainerPort: 53}, {HostPort: 53, ContainerPort: 53}})
		l.must(err)
		buf := make([]byte, 64)
		_ = client.SetDeadline(time.Now().Add(patience))
		_, err = client.Write([]byte("?"))
		l.must(err)
		n, err := client.Read(buf)
		if got := string(buf[:n]); err != nil || got != name+" "+outsideIP {
			t.Errorf("the flow reaches %q, %v, want %s", got, err, name)
		}
		l.reaches("a new connection", l.outside, "tcp", hostIP+":53", name, outsideIP)
		l.must(d.Detach(t.Context(), name))
	}
}

// A port passes on at once, also to another address of the host.
func TestPortMovesToAnotherAddress(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	d := l.driver()
	net := l.network(d, "net", nil)
	for i, ip := range []netip.Addr{{}, netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr(hostIP), {}} {
		name := fmt.Sprint("box", i)
		l.box(d, name, net)
		if _, err := d.Publish(t.Context(), name, []PortSpec{{HostIP: ip, HostPort: 80, ContainerPort: 80}}); err != nil {
			t.Error(err)
		}
		l.must(d.Detach(t.Context(), name))
	}
}

// A firewall that cannot be changed leaves nothing behind.
func TestBrokenIptables(t *testing.T) {
	l := newLab(t, "")
	before := l.snapshot()
	d := l.driver()
	dir := t.TempDir()
	for _, name := range []string{"iptables-restore", "ip6tables-restore"} {
		l.must(os.WriteFile(dir+"/"+name, []byte("#!/bin/sh\necho no such thing >&2; exit 3"), 0o700))
	}
	path := os.Getenv("PATH")
	t.Setenv("PATH", dir+":"+path)
	_, err := d.CreateNetwork(t.Context(), NetworkSpec{ID: "0123456789", Name: "net"})
	if err == nil || !strings.Contains(err.Error(), "network net: iptables-restore: exit status 3: no such thing") {
		t.Errorf("got %v", err)
	}
	if n := d.Networks(); len(n) > 0 {
		t.Errorf("left %v", n)
	}
	l.must(d.Flush(t.Context()))
	t.Setenv("PATH", path)
	l.same(before)
	l.network(d, "net", nil)
}

// Without iptables the proxy serves all, and the log says so once.
func TestWithoutIptables(t *testing.T) {
	empty := t.TempDir()
	l := newLab(t, "")
	before := l.snapshot()
	path := os.Getenv("PATH")
	t.Setenv("PATH", empty)
	d := l.driver()
	net := l.network(d, "net", nil)
	l.network(d, "other", nil)
	box := l.box(d, "box", net)
	l.serve(box.ns, "box", 80)
	_, err := d.Publish(t.Context(), "box", []PortSpec{{HostPort: 80, ContainerPort: 80}, {Proto: "udp", HostPort: 80, ContainerPort: 80}})
	l.must(err)
	for _, proto := range []string{"tcp", "udp"} {
		l.reaches("outside", l.outside, proto, hostIP+":80", "box", net.Gateway(true).String())
		l.reaches("localhost", l.host, proto, "127.0.0.1:80", "box", net.Gateway(true).String())
		l.reaches("localhost, IPv6", l.host, proto, "[::1]:80", "box", net.Gateway(true).String())
	}
	if log := l.log.String(); strings.Count(log, "install iptables") != 1 {
		t.Errorf("the log says %s", log)
	}
	l.must(d.Detach(t.Context(), "box"))
	for _, n := range d.Networks() {
		l.must(d.RemoveNetwork(t.Context(), n.ID))
	}
	l.must(d.Flush(t.Context()))
	t.Setenv("PATH", path)
	l.same(before)
}

// A kernel without the nat table, as iptables tells of it: the proxy serves, and networks are isolated all the same.
func TestWithoutNAT(t *testing.T) {
	l := newLab(t, "")
	before := l.snapshot()
	dir := t.TempDir()
	path := os.Getenv("PATH")
	for _, name := range []string{"iptables-restore", "ip6tables-restore"} {
		real, err := exec.LookPath(name)
		l.must(err)
		script := "#!/bin/sh\nrules=$(cat)\ncase $rules in *'*nat'*) echo \"" + name + ": unable to initialize table 'nat'\" >&2; exit 1;; esac\n" +
			"printf '%s\\n' \"$rules\" | " + real + " \"$@\"\n"
		l.must(os.WriteFile(dir+"/"+name, []byte(script), 0o700))
	}
	t.Setenv("PATH", dir+":"+path)
	d := l.driver()
	net, other := l.network(d, "net", nil), l.network(d, "other", nil)
	box, peer, far := l.box(d, "box", net), l.box(d, "peer", net), l.box(d, "far", other)
	l.serve(box.ns, "box", 80)
	_, err := d.Publish(t.Context(), "box", []PortSpec{{HostPort: 80, ContainerPort: 80}, {Proto: "udp", HostPort: 80, ContainerPort: 80}})
	l.must(err)
	for _, proto := range []string{"tcp", "udp"} {
		l.reaches("outside", l.outside, proto, hostIP+":80", "box", net.Gateway(true).String())
		l.reaches("localhost", l.host, proto, "127.0.0.1:80", "box", net.Gateway(true).String())
		l.reaches("the host's address, from a container", peer.ns, proto, hostIP+":80", "box", net.Gateway(true).String())
		l.reaches("the host's address, from another network", far.ns, proto, hostIP+":80", "box", net.Gateway(true).String())
		l.blocked("another network", far.ns, proto, box.ip(0)+":80")
	}
	if log := l.log.String(); strings.Count(log, "no nat table of iptables") != 1 {
		t.Errorf("the log says %s", log)
	}
	for _, name := range []string{"box", "peer", "far"} {
		l.must(d.Detach(t.Context(), name))
	}
	for _, n := range d.Networks() {
		l.must(d.RemoveNetwork(t.Context(), n.ID))
	}
	l.must(d.Flush(t.Context()))
	t.Setenv("PATH", path)
	l.same(before)
}

func TestPortsOfInternalNetworks(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	d := l.driver()
	cell := l.network(d, "cell", func(s *NetworkSpec) { s.Internal = true })
	l.box(d, "safe", cell)
	ports, err := d.Publish(t.Context(), "safe", []PortSpec{{HostPort: 80, ContainerPort: 80}})
	if err != nil || len(ports) > 0 || !strings.Contains(l.log.String(), "no bridge network that leads out") {
		t.Errorf("ports %v, %v, log %s", ports, err, l.log)
	}
	both := l.box(d, "both", cell, l.network(d, "net", nil))
	l.serve(both.ns, "both", 80)
	ports, err = d.Publish(t.Context(), "both", []PortSpec{{HostPort: 80, ContainerPort: 80, HostIP: netip.IPv4Unspecified()}})
	if err != nil || len(ports) != 1 || ports[0].ContainerIP != both.at[1].IPv4.Addr() {
		t.Errorf("of both networks the port leads to the one that is not internal: %v, %v", ports, err)
	}
}

// route_localnet on the bridges opens no service on 127.0.0.1 of the host to containers, even
// to one that is allowed to change its routes.
func TestLoopbackOfTheHostIsClosed(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	d := l.driver()
	box := l.box(d, "box", l.network(d, "net", nil))
	l.serve(l.host, "host", 99)
	ip, err := exec.LookPath("ip")
	l.must(err)
	l.must(box.ns.Do(func() error {
		for _, args := range []string{
			"route del local 127.0.0.0/8 dev lo table local",
			"route add 127.0.0.2 via " + box.at[0].Gateway.String() + " src " + box.ip(0),
		} {
			if out, err := exec.CommandContext(t.Context(), ip, strings.Fields(args)...).CombinedOutput(); err != nil {
				return fmt.Errorf("ip %s: %w: %s", args, err, out)
			}
		}
		return setSysctl("ipv4/conf/eth0/route_localnet", "1")
	}))
	l.blocked("loopback", box.ns, "tcp", "127.0.0.2:99")
	l.run("iptables -I INPUT -j ACCEPT")
	l.reaches("loopback without our rule, or this test proves nothing", box.ns, "tcp", "127.0.0.2:99", "host", "")
}

// A port on 127.0.0.1 is the host's alone: a neighbour that sends packets for 127.0.0.1 over the link gets nowhere, though
// redirecting happens before the kernel sees that such an address cannot come from there.
func TestLocalhostIsNoNeighbours(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	d := l.driver()
	box := l.box(d, "box", l.network(d, "net", nil))
	server, err := box.ns.ListenUDP(netip.MustParseAddrPort("0.0.0.0:80"))
	l.must(err)
	defer server.Close()
	local := PortSpec{Proto: "udp", HostPort: 81, ContainerPort: 80, HostIP: netip.MustParseAddr("127.0.0.1")}
	_, err = d.Publish(t.Context(), "box", []PortSpec{local})
	l.must(err)
	ip, err := exec.LookPath("ip")
	l.must(err)
	l.must(l.outside.Do(func() error {
		for _, args := range []string{
			"route del local 127.0.0.1 dev lo table local", "route del local 127.0.0.0/8 dev lo table local",
			"route add 127.0.0.1 via " + hostIP + " src " + outsideIP,
		} {
			if out, err := exec.CommandContext(t.Context(), ip, strings.Fields(args)...).CombinedOutput(); err != nil {
				return fmt.Errorf("ip %s: %w: %s", args, err, out)
			}
		}
		return setSysctl("ipv4/conf/link/route_localnet", "1")
	}))
	neighbour := l.dial(l.outside, "udp", "127.0.0.1:81")
	arrives := func(wait time.Duration) error {
		_, err := neighbour.Write([]byte("?"))
		l.must(errors.Join(err, server.SetReadDeadline(time.Now().Add(wait))))
		_, _, err = server.ReadFromUDPAddrPort(make([]byte, 8))
		return err
	}
	if err := arrives(impatient); err == nil {
		t.Error("a neighbour reaches a port on 127.0.0.1")
	}
	l.run("iptables -t nat -I PREROUTING -j TUTTI-AB12-PORTS")
	neighbour = l.dial(l.outside, "udp", "127.0.0.1:81")
	if err := arrives(patience); err != nil {
		t.Errorf("without our exception it does not either, so this test proves nothing: %v", err)
	}
}
