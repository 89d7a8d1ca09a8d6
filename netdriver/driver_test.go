package netdriver

import (
	"os"
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
			before := l.snapshot()
			traffic(l)
			if t.Failed() {
				t.Logf("rules:\n%s\nlog:\n%s", l.run("iptables-save"), l.log)
			}
			l.same(before)
		})
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
		l.blocked("port from an internal network", safe.ns, p, cell.Gateway(true).String()+":8080")
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
