package netdriver

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// The engine is killed: containers go on, connections through published ports too, nobody
// else gets the ports, and the next engine takes over without touching a rule.
func TestCrashAndRestore(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	keeper := &shelf{held: map[string]map[string]*os.File{}}
	l.config.Keeper = keeper
	before := l.snapshot()
	d := l.driver()
	front := l.network(d, "front", nil)
	web, orphan := l.box(d, "web", front), l.box(d, "orphan", front)
	l.serve(web.ns, "web", 80)
	ports, err := d.Publish(t.Context(), "web", []PortSpec{{HostPort: 8080, ContainerPort: 80}, {Proto: "udp", ContainerPort: 80}})
	l.must(err)
	l.crash(d)

	l.reaches("port while nobody is there", l.outside, "tcp", hostIP+":8080", "web", outsideIP)
	if _, err := l.host.ListenTCP(netip.MustParseAddrPort("0.0.0.0:8080")); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("others can have the port: %v", err)
	}
	rules := l.run("nft -a list ruleset")

	d = l.newDriver()
	l.must(d.Restore(t.Context(), map[string][]Endpoint{"web": web.at}, map[string][]PortBinding{"web": ports}))
	l.must(d.Flush(t.Context()))
	if after := l.run("nft -a list ruleset"); after != rules {
		t.Errorf("rules were set again:\n%s\nbefore:\n%s", after, rules)
	}
	if links := l.run("ip -br link"); strings.Contains(links, orphan.at[0].HostInterface) {
		t.Errorf("a link that nobody claims is left:\n%s", links)
	}
	l.reaches("restored port", l.outside, "tcp", hostIP+":8080", "web", outsideIP)
	l.reaches("restored port by the proxy", l.host, "tcp", "[::1]:8080", "web", "")
	l.reaches("restored UDP port", l.outside, "udp", netip.AddrPortFrom(netip.MustParseAddr(hostIP), ports[2].HostPort).String(), "web", outsideIP)
	if second := l.box(d, "second", front); second.ip(0) == web.ip(0) {
		t.Errorf("%s was given twice", web.ip(0))
	}
	again, err := d.Publish(t.Context(), "web", []PortSpec{{HostPort: 8080, ContainerPort: 80}})
	if err != nil || len(again) != 2 {
		t.Errorf("published again: %v, %v", again, err)
	}

	for _, name := range []string{"web", "second", "nobody", "web"} {
		l.must(d.Detach(t.Context(), name))
	}
	for range 2 {
		l.must(d.RemoveNetwork(t.Context(), front.ID))
	}
	l.must(d.Flush(t.Context()))
	if len(keeper.held) > 0 {
		t.Errorf("the keeper still holds %v", keeper.held)
	}
	l.free("0.0.0.0:8080")
	l.same(before)
}

// Killed at the worst moments of a removal, with rules changed by somebody else meanwhile.
func TestRestoreCleansUp(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	before := l.snapshot()
	d := l.driver()
	gone, stays := l.network(d, "gone", nil), l.network(d, "stays", nil)
	l.must(os.Remove(d.file(gone.ID)))
	l.crash(d)
	l.run("iptables -t nat -F POSTROUTING; iptables -F TUTTI-AB12-FORWARD")

	d = l.driver()
	l.must(d.Flush(t.Context()))
	if links := l.run("ip -br link"); strings.Contains(links, gone.Bridge) || !strings.Contains(links, stays.Bridge) {
		t.Errorf("of networks %s and %s the first is gone, not these: %s", gone.Bridge, stays.Bridge, links)
	}
	l.serve(l.outside, "outside", 80)
	box := l.box(d, "box", stays)
	l.reaches("outside, by rules made again", box.ns, "tcp", outsideIP+":80", "outside", hostIP)
	l.must(d.Detach(t.Context(), "box"))
	l.must(os.Remove(d.file(stays.ID)))
	l.crash(d)

	d = l.driver()
	l.must(d.Flush(t.Context()))
	l.same(before)
}

// After a reboot the files are there and nothing else.
func TestRestoreMakesBridgesAgain(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	d := l.driver()
	net := l.network(d, "net", func(s *NetworkSpec) { s.EnableIPv6 = true })
	first := l.box(d, "first", net)
	l.box(d, "second", net)
	l.crash(d)
	l.must(d.saveMemories())

	fresh := newLab(t, "")
	fresh.config.StateDir = l.config.StateDir
	d = fresh.driver()
	if again := d.Networks(); len(again) != 1 || again[0].Bridge != net.Bridge || again[0].Gateway(true) != net.Gateway(true) {
		t.Fatalf("networks after a reboot: %+v", again)
	}
	other := fresh.box(d, "other", net)
	same := fresh.box(d, "first", net)
	if same.ip(0) != first.ip(0) || other.ip(0) == first.ip(0) {
		t.Errorf("first had %s and has %s, other has %s", first.ip(0), same.ip(0), other.ip(0))
	}
	fresh.serve(same.ns, "first", 80)
	fresh.reaches("after a reboot", other.ns, "tcp", same.ip(0)+":80", "first", other.ip(0))
	fresh.reaches("after a reboot, IPv6", other.ns, "tcp", netip.AddrPortFrom(same.at[0].IPv6.Addr(), 80).String(), "first", "")
}

// removeRecords forgets all networks, as an engine does that is killed before it remembers them.
func removeRecords(d *Driver) error {
	files, err := filepath.Glob(d.file("*"))
	for _, f := range files {
		err = errors.Join(err, os.Remove(f))
	}
	return err
}
