package netdriver

import (
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// inside returns what a command prints in the container.
func (b *box) inside(command string) string {
	b.lab.t.Helper()
	var out []byte
	err := b.ns.Do(func() (err error) {
		out, err = exec.CommandContext(b.lab.t.Context(), "sh", "-c", command).CombinedOutput()
		return err
	})
	if err != nil {
		b.lab.t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return string(out)
}

// What a running container has of networks must be changed without any other connection noticing: the default route and
// the published ports move into the network that is told, over TCP and UDP, and both end with the last way out.
func TestRouteMovesWhatLeadsOut(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	d := l.driver()
	one := l.network(d, "1a", func(s *NetworkSpec) { s.EnableIPv6 = true })
	two := l.network(d, "2b", func(s *NetworkSpec) { s.EnableIPv6 = true })
	secret := l.network(d, "3c", func(s *NetworkSpec) { s.Internal = true })
	b := l.box(d, "web", one)
	l.serve(b.ns, "web", 80)
	l.serve(l.outside, "world", 7)
	ports := []PortSpec{{HostPort: 8080, ContainerPort: 80}, {Proto: "udp", HostPort: 8080, ContainerPort: 80}}
	_, err := d.Publish(t.Context(), "web", ports)
	l.must(err)
	l.reaches("from outside", l.outside, "tcp", hostIP+":8080", "web", outsideIP)
	l.reaches("from outside", l.outside, "udp", hostIP+":8080", "web", outsideIP)

	more, err := d.Attach(t.Context(), "web", b.ns, []EndpointSpec{
		{NetworkID: two.ID, Name: "web"},
		{NetworkID: secret.ID, Name: "web", LinkLocal: []netip.Addr{netip.MustParseAddr("169.254.9.9"), netip.MustParseAddr("fe80::9")}, Options: map[string]string{
			OptionInterface: "secret0", OptionSysctls: "net.ipv4.conf.IFNAME.log_martians=1,net.ipv6.conf.IFNAME.hop_limit=33",
		}},
	})
	l.must(err)
	if got := b.inside("ip -o addr show secret0; cat /proc/sys/net/ipv4/conf/secret0/log_martians /proc/sys/net/ipv6/conf/secret0/hop_limit"); !strings.Contains(got, "169.254.9.9/16") ||
		!strings.Contains(got, "fe80::9/64") || !strings.HasSuffix(got, "1\n33\n") {
		t.Errorf("the interface that was asked for: %s", got)
	}
	gateways := func() string {
		return strings.Join(strings.Fields(b.inside("ip route show default; ip -6 route show default")), " ")
	}
	if got := gateways(); !strings.Contains(got, "via "+one.Gateway(true).String()+" dev eth0") {
		t.Errorf("before: %s", got)
	}
	l.must(d.Route(t.Context(), "web", b.ns, two.ID, two.ID))
	if got := gateways(); !strings.Contains(got, "via "+two.Gateway(true).String()+" dev eth1") || !strings.Contains(got, "via "+two.Gateway(false).String()+" dev eth1") ||
		strings.Contains(got, "eth0") {
		t.Errorf("after: %s", got)
	}
	for _, proto := range []string{"tcp", "udp"} {
		l.reaches("after the move", l.outside, proto, hostIP+":8080", "web", outsideIP)
	}
	_, bindings := d.Container("web")
	if i := slices.IndexFunc(bindings, func(p PortBinding) bool {
		return p.ContainerIP != more[0].IPv4.Addr() && p.ContainerIP != more[0].IPv6.Addr()
	}); i >= 0 || len(bindings) != 4 {
		t.Errorf("the ports lead to %v", bindings)
	}
	l.must(d.Detach(t.Context(), "web", one.ID))
	l.must(d.Flush(t.Context()))
	l.reaches("without the first network", l.outside, "tcp", hostIP+":8080", "web", outsideIP)
	l.reaches("the way out", b.ns, "tcp", worldIP+":7", "world", hostIP)

	l.must(d.Route(t.Context(), "web", b.ns, "", ""))
	if got := gateways(); got != "" {
		t.Errorf("without a way out there is %s", got)
	}
	l.must(d.Detach(t.Context(), "web", two.ID))
	l.must(d.Flush(t.Context()))
	if _, bindings := d.Container("web"); len(bindings) > 0 {
		t.Errorf("the ports are still published: %v", bindings)
	}
	l.blocked("without a way out", l.outside, "tcp", hostIP+":8080")
}

func TestCheckEndpoint(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		spec EndpointSpec
		want string // "" for none
	}{
		{EndpointSpec{}, ""},
		{EndpointSpec{Interface: "eth0.100"}, ""},
		{EndpointSpec{Interface: "seventeen-letters"}, "no name for an interface"},
		{EndpointSpec{Interface: "../x"}, "no name for an interface"},
		{EndpointSpec{Interface: ".."}, "no name for an interface"},
		{EndpointSpec{Options: map[string]string{OptionInterface: "lo"}}, "no name for an interface"},
		{EndpointSpec{Options: map[string]string{OptionSysctls: "net.ipv4.conf.IFNAME.forwarding=1, net/ipv6/neigh/IFNAME/base_reachable_time_ms=20000"}}, ""},
		{EndpointSpec{Options: map[string]string{OptionSysctls: "net.ipv4.ip_forward=1"}}, "net.ipv4.ip_forward=1"},
		{EndpointSpec{Options: map[string]string{OptionSysctls: "net.ipv4.conf.all.forwarding=1"}}, "no setting of an interface"},
		{EndpointSpec{Options: map[string]string{OptionSysctls: "net.ipv4.conf.IFNAME.../../x=1"}}, "no setting of an interface"},
		{EndpointSpec{Options: map[string]string{OptionSysctls: "net.ipv4.conf.IFNAME.forwarding"}}, "no setting of an interface"},
		{EndpointSpec{Options: map[string]string{"com.example.x": "1"}}, "com.example.x"},
		{EndpointSpec{LinkLocal: []netip.Addr{netip.MustParseAddr("10.0.0.1")}}, "10.0.0.1 is no link-local"},
	} {
		err := CheckEndpoint(tt.spec)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %q", tt.spec, err, tt.want)
		}
	}
}

// Addresses of containers that do not run must be kept for them, beyond the life of the driver, and given to others only
// when there are no others left.
func TestRemember(t *testing.T) {
	t.Parallel()
	l := newLab(t, "")
	d := l.driver()
	n := l.network(d, "1a", func(s *NetworkSpec) {
		s.Pools = pools("10.77.0.0/29", "fd77::/64")
	})
	had := slices.Concat(l.box(d, "first", n).at, l.box(d, "second", n).at)
	l.crash(d)
	d = l.newDriver()
	d.Remember(had)
	l.must(d.Restore(t.Context(), nil, nil))
	l.must(d.Flush(t.Context()))
	other := l.box(d, "other", n)
	again := l.box(d, "second", n)
	if again.at[0].IPv4 != had[1].IPv4 || again.at[0].IPv6 != had[1].IPv6 {
		t.Errorf("second had %v, %v and has %v, %v now", had[1].IPv4, had[1].IPv6, again.at[0].IPv4, again.at[0].IPv6)
	}
	if other.at[0].IPv4 == had[0].IPv4 {
		t.Errorf("another container has got %v while there are others", had[0].IPv4)
	}
}
