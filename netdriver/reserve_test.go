package netdriver

import (
	"errors"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tutti/netdriver/netns"
)

// refused asserts that a connection is refused, at once and not by silence.
func (l *lab) refused(what string, from *netns.NS, addr string) {
	l.t.Helper()
	for deadline := time.Now().Add(patience); ; {
		got, err := ask(l.t.Context(), from, "tcp", addr, patience)
		// A child that does not execute its program yet has a copy of a socket that was closed, and accepts without an answer.
		copied := got == "" && (err == nil || errors.Is(err, unix.ECONNRESET))
		switch {
		case copied && time.Now().Before(deadline):
			continue
		case !errors.Is(err, unix.ECONNREFUSED):
			l.t.Errorf("%s: %s answers %q, %v; want that it is refused", what, addr, got, err)
		}
		return
	}
}

// free asserts that another program gets a port, when no child has a copy of its socket any more.
func (l *lab) free(addr string) {
	l.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		s, err := l.host.ListenTCP(netip.MustParseAddrPort(addr))
		if err == nil {
			l.must(s.Close())
			return
		}
		if time.Now().After(deadline) {
			l.t.Fatalf("the port is not given back: %v", err)
		}
	}
}

// What a container has of the networks is there before it runs and stays between two runs, also for another in its place:
// the rules do not change meanwhile, who connects is refused, and nobody else gets the port.
func TestReserved(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	before := l.snapshot()
	d := l.driver()
	made, created, err := d.AddNetwork(t.Context(), NetworkSpec{ID: "0123456789", Name: "net"})
	l.must(err)
	if !created {
		t.Error("a network that was made is said to have been there")
	}
	specs := func(name string) []EndpointSpec {
		return []EndpointSpec{{NetworkID: made.ID, Name: name, DefaultRoute: true}}
	}
	ports := []PortSpec{{HostPort: 80, ContainerPort: 80}, {HostPort: 81, HostPortEnd: 90, ContainerPort: 80}, {HostPort: 81, HostPortEnd: 90, ContainerPort: 80}, {ContainerPort: 80}}
	wish := specs("fixed")
	wish[0].IPv4 = made.Pools[0].Subnet.Addr().Next().Next()
	for i, err := range d.Reserve(t.Context(), // the address that is asked for is nobody else's, whoever comes first
		Reservation{ContainerID: "a", Endpoints: specs("web"), Ports: ports},
		Reservation{ContainerID: "other", Endpoints: specs("other"), Ports: []PortSpec{{HostPort: 80, ContainerPort: 1}}},
		Reservation{ContainerID: "fixed", Endpoints: wish},
	) {
		if (err != nil) != (i == 1) || i == 1 && !errors.Is(err, ErrPortTaken) {
			t.Errorf("reservation %d: %v", i, err)
		}
	}
	l.must(d.Settle(t.Context()))
	rules := l.run("iptables-save; ip6tables-save")
	_, first := d.Container("a")
	if len(first) != 8 || first[2].HostPort != 81 || first[4].HostPort != 82 {
		t.Errorf("reserved %v", first)
	}
	if e, _ := d.Container("other"); len(e) > 0 {
		t.Errorf("what cannot be reserved leaves %v", e)
	}

	var address string
	run := func(id string) {
		t.Helper()
		ns, err := netns.New()
		l.must(err)
		defer ns.Close()
		at, err := d.Attach(t.Context(), id, ns, specs("web"))
		l.must(err)
		if address == "" {
			address = at[0].IPv4.String()
		}
		if got := at[0].IPv4.String(); got != address || at[0].ContainerID != id {
			t.Errorf("%s has address %s, want %s", at[0].ContainerID, got, address)
		}
		closed := func(when string) {
			t.Helper()
			l.refused(when+", from outside", l.outside, hostIP+":80")
			l.refused(when+", from the host", l.host, "127.0.0.1:81")
			l.refused(when+", by the relay", l.host, "[::1]:80")
			if s, err := l.host.ListenTCP(netip.MustParseAddrPort("0.0.0.0:80")); !errors.Is(err, unix.EADDRINUSE) {
				t.Errorf("%s: another program gets the port: %v", when, err)
				_ = s.Close()
			}
		}
		closed("before it listens")
		end := l.serveUntil(ns, "web", 80)
		defer end()
		now, err := d.Publish(t.Context(), id, ports)
		l.must(err)
		for i := range now {
			if now[i] != first[i] {
				t.Errorf("port %d is %v, want %v", i, now[i], first[i])
			}
		}
		l.reaches("from outside", l.outside, "tcp", hostIP+":80", "web", outsideIP)
		l.reaches("from the host", l.host, "tcp", "127.0.0.1:82", "web", "")
		l.reaches("by the relay", l.host, "tcp", "[::1]:80", "web", "")
		end()
		l.must(d.Vacate(id))
		closed("when it has ended")
		if now := l.run("iptables-save; ip6tables-save"); now != rules {
			t.Errorf("the rules have changed:\n%s\nwere\n%s", now, rules)
		}
	}
	run("a")
	run("a")
	l.must(d.Handover("a", "b"))
	run("b")
	if e, _ := d.Container("a"); len(e) > 0 {
		t.Errorf("handed over, and it still has %v", e)
	}

	// One that asks for less has less; nobody has anything for whom nothing was reserved when the driver died.
	release := d.Gather() // which keeps the background out
	for _, err := range d.Reserve(t.Context(), Reservation{ContainerID: "b", Endpoints: specs("web"), Ports: ports[:1]}) {
		l.must(err)
	}
	l.must(d.Settle(t.Context()))
	if now := l.run("iptables-save; ip6tables-save"); now != rules {
		t.Errorf("what is too much is a reason to change the firewall:\n%s", now)
	}
	release()
	l.must(d.Flush(t.Context()))
	if now := l.run("iptables-save"); strings.Contains(now, "--dport 81 ") || !strings.Contains(now, "--dport 80 ") {
		t.Errorf("with one port less:\n%s", now)
	}
	d.Abandon("b") // it does not wait for another run
	if e, _ := d.Container("b"); len(e) != 1 {
		t.Errorf("abandoned while it is to start: %v", e)
	}
	l.crash(d)
	d = l.driver()
	if now := l.run("iptables-save"); strings.Contains(now, "DNAT --to") {
		t.Errorf("a crash leaves rules:\n%s", now)
	}
	l.must(d.RemoveNetwork(t.Context(), made.ID))
	l.must(d.Flush(t.Context()))
	l.same(before)
}

// What is gathered goes together, but for what somebody waits for.
func TestGather(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	before := l.snapshot()
	d := l.driver()
	net := l.network(d, "net", nil)
	for _, name := range []string{"a", "b"} {
		l.box(d, name, net)
		_, err := d.Publish(t.Context(), name, []PortSpec{{HostPort: 80 + uint16(name[0]), ContainerPort: 80}})
		l.must(err)
	}
	rules := l.run("iptables-save")
	release := d.Gather()
	l.must(d.Detach(t.Context(), "a"))
	l.must(d.Detach(t.Context(), "b"))
	if now := l.run("iptables-save"); now != rules {
		t.Errorf("what is gathered goes at once:\n%s", now)
	}
	l.refused("a container that is gone", l.outside, hostIP+":177")
	again := l.box(d, "a", net) // who wants his address back gets it
	if now := l.run("iptables-save"); strings.Contains(now, "DNAT --to") {
		t.Errorf("who waits does not set free what is gathered:\n%s", now)
	}
	l.must(d.Detach(t.Context(), again.name))
	l.must(d.RemoveNetwork(t.Context(), net.ID))
	if l.run("iptables-save | grep -c TUTTI") == "0\n" {
		t.Error("a network goes at once")
	}
	release()
	l.must(d.Flush(t.Context()))
	l.same(before)
}

// A container whose way out moves between a network that translates and one that routes has its ports at the host, at its
// own address, and at the host again.
func TestPortsFollowTheMode(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	d := l.driver()
	nat := l.network(d, "nat", nil)
	routed := l.network(d, "routed", func(s *NetworkSpec) { s.Options = map[string]string{optionMode4: "routed"} })
	box := l.box(d, "box", nat, routed)
	l.serve(box.ns, "box", 80)
	l.must(l.outside.Do(func() error {
		return exec.CommandContext(t.Context(), "ip", "route", "add", routed.Subnets()[0].String(), "via", hostIP).Run()
	}))
	ports := []PortSpec{{HostPort: 8080, ContainerPort: 80}}
	for _, atHost := range []bool{true, false, true} {
		out := routed
		if atHost {
			out = nat
		}
		l.must(d.Route(t.Context(), "box", box.ns, out.ID, ""))
		bound, err := d.Publish(t.Context(), "box", ports)
		l.must(err)
		if _, has := d.Container("box"); !slices.Equal(bound, has) || len(has) != map[bool]int{true: 2, false: 1}[atHost] {
			t.Errorf("by %s: published %v, it has %v", out.Name, bound, has)
		}
		if atHost {
			l.reaches("at the host", l.outside, "tcp", hostIP+":8080", "box", outsideIP)
			l.blocked("at its own address", l.outside, "tcp", box.ip(1)+":80")
			continue
		}
		l.must(d.Flush(t.Context()))
		l.reaches("at its own address", l.outside, "tcp", box.ip(1)+":80", "box", outsideIP)
		l.free("0.0.0.0:8080")
	}
}
