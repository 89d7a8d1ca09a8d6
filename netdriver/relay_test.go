package netdriver

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"tutti/netdriver/netns"
	"tutti/netdriver/portmap/relay"
)

// echo sends back what it gets, over TCP and UDP, until the test ends. A TCP connection ends when the client has said all.
func (l *lab) echo(ns *netns.NS, port uint16) {
	l.t.Helper()
	addr := netip.AddrPortFrom(netip.IPv4Unspecified(), port)
	tcp, err := ns.ListenTCP(addr)
	l.must(err)
	udp, err := ns.ListenUDP(addr)
	l.must(err)
	l.t.Cleanup(func() { _, _ = tcp.Close(), udp.Close() })
	go func() {
		for {
			c, err := tcp.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	go func() {
		buf := make([]byte, 2048)
		for {
			n, client, err := udp.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			_, _ = udp.WriteToUDPAddrPort(buf[:n], client)
		}
	}()
}

// dial connects from a namespace, until the test ends.
func (l *lab) dial(ns *netns.NS, network, addr string) net.Conn {
	l.t.Helper()
	c, err := ns.Dial(l.t.Context(), network, netip.MustParseAddrPort(addr))
	l.must(err)
	l.t.Cleanup(func() { _ = c.Close() })
	return c
}

// echoes asserts that what is sent comes back.
func (l *lab) echoes(what string, c net.Conn) {
	l.t.Helper()
	message := []byte(what)
	got := make([]byte, len(message))
	_ = c.SetDeadline(time.Now().Add(patience))
	_, err := c.Write(message)
	if err == nil {
		_, err = io.ReadFull(c, got)
	}
	if err != nil || !bytes.Equal(got, message) {
		l.t.Errorf("%s: %q, %v", what, got, err)
	}
}

// relays are the pids of this test process's children that are relays.
func relays(t *testing.T, ns *netns.NS) (pids []int) {
	t.Helper()
	inode, err := ns.Inode()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("pgrep", "-P", strconv.Itoa(os.Getpid())).Output()
	if err != nil {
		return nil // it has no children
	}
	for field := range strings.FieldsSeq(string(out)) {
		command, _ := os.ReadFile("/proc/" + field + "/cmdline")
		where, _ := os.Readlink("/proc/" + field + "/ns/net")
		pid, err := strconv.Atoi(field)
		if err == nil && strings.HasPrefix(string(command), relay.Program) && where == fmt.Sprintf("net:[%d]", inode) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// What the firewall's rules do not take: connections go on while the engine is killed, both while nobody is there and with
// the next one. The relay runs when it is needed, and not longer; should it die, another one serves.
func TestRelaySurvivesTheEngine(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	l.config.Keeper = &shelf{held: map[string]map[string]*os.File{}}
	d := l.driver()
	net := l.network(d, "net", nil)
	box := l.box(d, "box", net)
	l.echo(box.ns, 7)
	ports, err := d.Publish(t.Context(), "box", []PortSpec{{HostPort: 7, ContainerPort: 7}, {Proto: "udp", HostPort: 7, ContainerPort: 7}})
	l.must(err)
	l.echoes("through the rules", l.dial(l.outside, "tcp", hostIP+":7"))
	if pids := relays(t, l.host); len(pids) > 0 {
		t.Errorf("a relay that nobody needs: %v", pids)
	}
	tcp, udp, far := l.dial(l.host, "tcp", "[::1]:7"), l.dial(l.host, "udp", "[::1]:7"), l.dial(l.outside, "udp", "[2001:db8::1]:7")
	check := func(when string) {
		t.Helper()
		l.echoes("TCP "+when, tcp)
		l.echoes("UDP "+when, udp)
		l.echoes("UDP from outside "+when, far)
		l.echoes("a new connection "+when, l.dial(l.host, "tcp", "[::1]:7"))
	}
	check("at first")
	l.crash(d)
	check("without an engine")
	d = l.newDriver()
	l.must(d.Restore(t.Context(), map[string][]Endpoint{"box": box.at}, map[string][]PortBinding{"box": ports}))
	check("with the next engine")
	pids := relays(t, l.host)
	if len(pids) != 1 {
		t.Fatalf("relays %v, want one", pids)
	}
	l.must(d.Close(t.Context())) // as for an update: the containers go on
	l.crashed[d] = true
	check("after the engine has ended")
	d = l.newDriver()
	l.must(d.Restore(t.Context(), map[string][]Endpoint{"box": box.at}, map[string][]PortBinding{"box": ports}))

	l.must(syscall.Kill(pids[0], syscall.SIGKILL))
	_ = tcp.SetDeadline(time.Now().Add(patience))
	if _, err := io.ReadAll(tcp); os.IsTimeout(err) {
		t.Error("the connections of a relay that is killed do not end")
	}
	tcp = l.dial(l.host, "tcp", "[::1]:7")
	check("with another relay")
	l.must(d.Detach(t.Context(), "box"))
	l.must(d.Flush(t.Context()))
	_ = tcp.SetDeadline(time.Now().Add(patience))
	if _, err := io.ReadAll(tcp); os.IsTimeout(err) {
		t.Error("connections to a port that is not published any more go on")
	}
	if held := l.config.Keeper.(*shelf).held; len(held) > 0 {
		t.Errorf("the keeper still holds %v", held)
	}
}

// A port passes to another container while the one that had it goes on: so do the connections that this one has, until it ends;
// new ones are the other's. The relay ends when nothing is published any more, whoever is still connected.
func TestRelayedPortPassesOn(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	d := l.driver()
	net := l.network(d, "net", nil)
	ports := []PortSpec{{HostPort: 7, ContainerPort: 7}, {Proto: "udp", HostPort: 7, ContainerPort: 7}}
	old, successor := l.box(d, "old", net), l.box(d, "new", net)
	l.echo(old.ns, 7)
	l.serve(successor.ns, "new", 7)
	_, err := d.Publish(t.Context(), "old", ports)
	l.must(err)
	c := l.dial(l.host, "tcp", "[::1]:7")
	l.echoes("at first", c)
	l.echoes("UDP", l.dial(l.host, "udp", "[::1]:7"))
	for range 2 { // there and back again
		for _, id := range []string{"new", "old"} {
			l.must(errors.Join(d.Reserve(t.Context(), Reservation{ContainerID: map[string]string{"new": "old", "old": "new"}[id], Ahead: true})...))
			_, err := d.Publish(t.Context(), id, ports)
			l.must(err)
			l.echoes("with the port at "+id, c)
			if id == "new" {
				l.reaches("a new connection", l.host, "tcp", "[::1]:7", "new", "")
				l.reaches("a new client", l.host, "udp", "[::1]:7", "new", "")
			} else {
				l.echoes("a new connection", l.dial(l.host, "tcp", "[::1]:7"))
			}
		}
	}
	l.must(errors.Join(d.Detach(t.Context(), "new"), d.Detach(t.Context(), "old"), d.Flush(t.Context())))
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := io.ReadAll(c); os.IsTimeout(err) {
		t.Error("connections go on when nothing is published any more")
	}
	l.eventually("the relay has ended", func() error {
		if pids := relays(t, l.host); len(pids) > 0 {
			return fmt.Errorf("relays %v", pids)
		}
		return nil
	})
}

// Engine and keeper die together: the connections that there are go on, the ports are free for the next engine, and the
// relay ends with its last connection.
func TestRelayIsOrphaned(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	keeper := &shelf{held: map[string]map[string]*os.File{}}
	l.config.Keeper = keeper
	d := l.driver()
	box := l.box(d, "box", l.network(d, "net", nil))
	l.echo(box.ns, 7)
	ports, err := d.Publish(t.Context(), "box", []PortSpec{{HostPort: 7, ContainerPort: 7}})
	l.must(err)
	c := l.dial(l.host, "tcp", "[::1]:7")
	l.echoes("at first", c)
	l.crash(d)
	for id := range keeper.held {
		l.must(keeper.Release(id))
	}
	l.echoes("without engine and keeper", c)
	var holder net.Listener
	l.eventually("the port is free", func() (err error) {
		if holder, err = l.host.ListenTCP(netip.MustParseAddrPort("[::]:7")); err == nil {
			return holder.Close()
		}
		return err
	})
	d = l.newDriver()
	l.must(d.Restore(t.Context(), map[string][]Endpoint{"box": box.at}, map[string][]PortBinding{"box": ports}))
	l.echoes("with the next engine", c)
	l.echoes("anew, with the next engine", l.dial(l.host, "tcp", "[::1]:7"))
	l.must(c.Close())
	l.eventually("the first relay has ended", func() error {
		if pids := relays(t, l.host); len(pids) != 1 {
			return fmt.Errorf("relays %v, want the next engine's alone", pids)
		}
		return nil
	})
}

// Nothing gets lost, both directions end by themselves, and who cannot be reached is a reset.
func TestRelayedConnections(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	d := l.driver()
	box := l.box(d, "box", l.network(d, "net", nil))
	l.echo(box.ns, 7)
	_, err := d.Publish(t.Context(), "box", []PortSpec{{HostPort: 7, ContainerPort: 7}, {HostPort: 8, ContainerPort: 8}})
	l.must(err)
	message := make([]byte, 8<<20)
	_, _ = rand.Read(message)
	c := l.dial(l.host, "tcp", "[::1]:7")
	_ = c.SetDeadline(time.Now().Add(4 * patience))
	go func() {
		_, _ = c.Write(message)
		_ = c.(*net.TCPConn).CloseWrite()
	}()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, message) {
		t.Errorf("of %d bytes %d came back, %v", len(message), len(got), err)
	}
	_, err = ask(t.Context(), l.host, "tcp", "[::1]:8", patience)
	if err == nil || !strings.Contains(err.Error(), "reset") {
		t.Errorf("a port without a listener: %v", err)
	}
}

// eventually waits until a condition holds.
func (l *lab) eventually(what string, check func() error) {
	l.t.Helper()
	for deadline := time.Now().Add(4 * patience); ; time.Sleep(5 * time.Millisecond) {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			l.t.Fatalf("%s: %v", what, err)
		}
	}
}
