package netdriver

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The matrix: who reaches whom, with real packets, on hosts of different kinds. FORWARD is
// closed by Docker, before and since version 28, and INPUT too by ufw (but for port 99).
func TestTraffic(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"empty", "docker", "docker28", "ufw"} {
		t.Run(host, func(t *testing.T) {
			t.Parallel()
			var rules []byte
			if host != "empty" {
				var err error
				if rules, err = os.ReadFile("testdata/" + host + ".rules"); err != nil {
					t.Fatal(err)
				}
			}
			l := newLab(t, string(rules))
			if os.Getenv(legacyEnv) != "" {
				if v := l.run("iptables --version"); !strings.Contains(v, "legacy") {
					t.Fatal(v)
				}
				l.run("for p in iptables ip6tables; do $p -t nat -S; $p -S; done") // the tables stay once they were looked at
			}
			before := l.snapshot()
			traffic(l)
			if t.Failed() {
				t.Logf("rules:\n%s\nlog:\n%s", l.run("iptables-save"), l.log)
			}
			l.same(before)
		})
	}
}

// legacyEnv is set where iptables is the legacy one.
const legacyEnv = "TUTTI_TEST_LEGACY"

// The same with the other backend of iptables, in a process of its own, by its names in front of the search path.
func TestTrafficLegacy(t *testing.T) {
	t.Parallel()
	if os.Getenv(legacyEnv) != "" {
		return
	}
	dir := t.TempDir()
	legacy, err := exec.LookPath("xtables-legacy-multi")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"iptables", "ip6tables"} {
		for _, suffix := range []string{"", "-save", "-restore"} {
			if err := os.Symlink(legacy, filepath.Join(dir, name+suffix)); err != nil {
				t.Fatal(err)
			}
		}
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^(TestTraffic|TestTrafficBesideTheOtherBackend)$")
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), legacyEnv+"=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func traffic(l *lab) {
	t, d := l.t, l.driver()
	front := l.network(d, "front", nil)
	back := l.network(d, "back", nil)
	cell := l.network(d, "cell", func(s *NetworkSpec) { s.Internal = true })
	web := l.box(d, "web", front)
	api := l.box(d, "api", front, back)
	db := l.box(d, "db", back)
	safe := l.box(d, "safe", cell)
	guard := l.box(d, "guard", cell)
	for _, b := range []*box{web, api, db, safe, guard} {
		l.serve(b.ns, b.name, 80)
	}
	l.serve(l.outside, "outside", 80)
	l.serve(l.host, "host", 99)
	if _, err := d.Publish(t.Context(), "web", []PortSpec{
		{HostPort: 8080, ContainerPort: 80}, {Proto: "udp", HostPort: 8080, ContainerPort: 80},
	}); err != nil {
		t.Fatal(err)
	}

	// The neighbour knows the way to the containers, and could go it past the published ports.
	for _, n := range []Network{front, back, cell} {
		l.must(l.outside.Do(func() error {
			return exec.CommandContext(t.Context(), "ip", "route", "add", n.Subnets()[0].String(), "via", hostIP).Run()
		}))
	}

	for _, p := range []string{"tcp", "udp"} {
		l.reaches("same network", web.ns, p, api.ip(0)+":80", "api", web.ip(0))
		l.reaches("same network, other way", api.ns, p, web.ip(0)+":80", "web", api.ip(0))
		l.reaches("second network", api.ns, p, db.ip(0)+":80", "db", api.ip(1))
		l.reaches("internal network", guard.ns, p, safe.ip(0)+":80", "safe", guard.ip(0))
		l.reaches("a container from its host", l.host, p, db.ip(0)+":80", "db", back.Gateway(true).String())
		l.reaches("the host", web.ns, p, front.Gateway(true).String()+":99", "host", web.ip(0))

		l.blocked("other network", web.ns, p, db.ip(0)+":80")
		l.blocked("other network, other way", db.ns, p, web.ip(0)+":80")
		l.blocked("into an internal network", web.ns, p, safe.ip(0)+":80")
		l.blocked("out of an internal network", safe.ns, p, outsideIP+":80")
		l.blocked("out of an internal network to another", safe.ns, p, web.ip(0)+":80")
		l.blocked("unpublished from outside", l.outside, p, db.ip(0)+":80")
		l.blocked("published from outside, by the container's address", l.outside, p, web.ip(0)+":80")
		l.blocked("an internal network from outside", l.outside, p, safe.ip(0)+":80")

		l.reaches("outside", web.ns, p, outsideIP+":80", "outside", hostIP)
		l.reaches("the world", db.ns, p, worldIP+":80", "outside", hostIP)

		l.reaches("port from outside", l.outside, p, hostIP+":8080", "web", outsideIP)
		l.reaches("port from the host", l.host, p, hostIP+":8080", "web", hostIP)
		l.reaches("port from localhost", l.host, p, "127.0.0.1:8080", "web", front.Gateway(true).String())
		l.reaches("port from localhost, IPv6", l.host, p, "[::1]:8080", "web", front.Gateway(true).String())
		l.reaches("port from outside, IPv6", l.outside, p, "[2001:db8::1]:8080", "web", front.Gateway(true).String())
		l.reaches("own port", web.ns, p, hostIP+":8080", "web", front.Gateway(true).String())
		l.reaches("port of a neighbour", api.ns, p, hostIP+":8080", "web", "")
		l.reaches("port of another network", db.ns, p, hostIP+":8080", "web", "")
		l.reaches("port of another network, by the address of its bridge", db.ns, p, front.Gateway(true).String()+":8080", "web", "")
		l.blocked("port from an internal network", safe.ns, p, cell.Gateway(true).String()+":8080")
		l.blocked("port from an internal network, by the host's address", safe.ns, p, hostIP+":8080")
	}

	for _, b := range []*box{web, api, db, safe, guard} {
		if err := d.Detach(t.Context(), b.name); err != nil {
			t.Error(err)
		}
	}
	for _, n := range []Network{front, back, cell} {
		if err := d.RemoveNetwork(t.Context(), n.ID); err != nil {
			t.Error(err)
		}
	}
	if err := d.Flush(t.Context()); err != nil {
		t.Error(err)
	}
}

// A port on one address of the host is there alone.
func TestHostIP(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	before := l.snapshot()
	d := l.driver()
	net := l.network(d, "net", func(s *NetworkSpec) { s.EnableIPv6 = true })
	box, peer := l.box(d, "box", net), l.box(d, "peer", net)
	l.serve(box.ns, "box", 80)
	at := func(port int, ip string) PortSpec {
		return PortSpec{HostPort: uint16(port), ContainerPort: 80, HostIP: netip.MustParseAddr(ip)}
	}
	_, err := d.Publish(t.Context(), "box", []PortSpec{at(81, "127.0.0.1"), at(82, hostIP), at(83, "::1"), at(84, "2001:db8::1"), at(85, "0.0.0.0"), at(86, "::")})
	l.must(err)
	all := []string{"127.0.0.1", hostIP, "[::1]", "[2001:db8::1]"}
	for port, open := range map[int][]string{81: {"127.0.0.1"}, 82: {hostIP}, 83: {"[::1]"}, 84: {"[2001:db8::1]"}, 85: {"127.0.0.1", hostIP}, 86: {"[::1]", "[2001:db8::1]"}} {
		for _, ip := range all {
			what, addr := fmt.Sprintf("port %d at %s", port, ip), fmt.Sprintf("%s:%d", ip, port)
			if !slices.Contains(open, ip) {
				l.blocked(what, l.host, "tcp", addr)
				l.blocked(what+" from outside", l.outside, "tcp", addr)
				continue
			}
			l.reaches(what, l.host, "tcp", addr, "box", "")
			switch ip {
			case hostIP:
				l.reaches(what+" from outside", l.outside, "tcp", addr, "box", outsideIP)
				l.reaches(what+" from a neighbour", peer.ns, "tcp", addr, "box", "")
			case "[2001:db8::1]":
				l.reaches(what+" from outside", l.outside, "tcp", addr, "box", "2001:db8::2")
				l.reaches(what+" from a neighbour", peer.ns, "tcp", addr, "box", "")
			default:
				l.blocked(what+" from outside", l.outside, "tcp", addr)
				l.blocked(what+" from a neighbour", peer.ns, "tcp", addr)
			}
		}
	}
	l.must(d.Detach(t.Context(), "box"))
	l.must(d.Detach(t.Context(), "peer"))
	l.must(d.RemoveNetwork(t.Context(), net.ID))
	l.must(d.Flush(t.Context()))
	l.same(before)
}
