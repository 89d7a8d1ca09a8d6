package netcheck

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"tutti/netdriver"
	"tutti/scheduler/container"
)

func book() *Book {
	pool := netdriver.Pool{
		Subnet: netip.MustParsePrefix("10.1.0.0/24"), Gateway: netip.MustParseAddr("10.1.0.254"),
		Aux: map[string]netip.Addr{"router": netip.MustParseAddr("10.1.0.9")},
	}
	six := netdriver.Pool{Subnet: netip.MustParsePrefix("fd00::/64")}
	named := func(name string, change func(*netdriver.NetworkSpec)) Network {
		n := Network{New: true, NetworkSpec: netdriver.NetworkSpec{Name: name}}
		change(&n.NetworkSpec)
		n.NetworkSpec = netdriver.WithGateways(n.NetworkSpec)
		return n
	}
	return New(map[string]Network{
		"front": named("front", func(s *netdriver.NetworkSpec) { s.Pools = []netdriver.Pool{pool} }),
		"dual":  named("dual", func(s *netdriver.NetworkSpec) { s.EnableIPv6, s.Pools = true, []netdriver.Pool{pool, six} }),
		"any":   named("any", func(s *netdriver.NetworkSpec) {}),
		"six":   named("six", func(s *netdriver.NetworkSpec) { s.NoIPv4, s.EnableIPv6 = true, true }),
		"one": named("one", func(s *netdriver.NetworkSpec) {
			s.Driver, s.Options = "macvlan", map[string]string{"parent": "eth0", "macvlan_mode": "passthru"}
		}),
	})
}

func TestJoins(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a    container.Attachment
		want string // of the message; "" for none
	}{
		{container.Attachment{Network: "front"}, ""},
		{container.Attachment{Network: "front", IPv4: "10.1.0.1"}, ""},
		{container.Attachment{Network: "dual", IPv4: "10.1.0.5", IPv6: "fd00::5"}, ""},
		{container.Attachment{Network: "elsewhere", IPv4: "10.1.0.5"}, ""},
		{container.Attachment{Network: "front", IPv4: "10.2.0.5"}, "10.2.0.5 is in no subnet of network front, 10.1.0.0/24"},
		{container.Attachment{Network: "front", IPv4: "10.1.0.254"}, "is the gateway of network front"},
		{container.Attachment{Network: "dual", IPv6: "fd00::1"}, "is the gateway of network dual"},
		{container.Attachment{Network: "front", IPv4: "10.1.0.9"}, "is kept for router"},
		{container.Attachment{Network: "front", IPv4: "10.1.0.0"}, "stands for all of"},
		{container.Attachment{Network: "front", IPv4: "10.1.0.255"}, "stands for all of"},
		{container.Attachment{Network: "front", IPv4: "10.1.0.7"}, "the address of container old on network front"},
		{container.Attachment{Network: "front", IPv4: "fd00::5"}, "no IPv4 address"},
		{container.Attachment{Network: "front", IPv4: "x"}, `"x" is no address`},
		{container.Attachment{Network: "front", IPv6: "fd00::5"}, "network front has no IPv6"},
		{container.Attachment{Network: "any", IPv4: "10.1.0.5"}, "name one in its ipam.config.subnet"},
		{container.Attachment{Network: "six", IPv4: "10.1.0.5"}, "network six has no IPv4"},
		{container.Attachment{Network: "one"}, ""},
	} {
		b := book()
		b.Stays("old", "front", netip.MustParseAddr("10.1.0.7"), netip.Addr{})
		err := b.Joins("new", c.a)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: %v, want %q", c.a, err, c.want)
		}
	}
}

// Of two that want the same it is the second that cannot have it.
func TestJoinsTwice(t *testing.T) {
	t.Parallel()
	b := book()
	a := container.Attachment{Network: "front", IPv4: "10.1.0.5"}
	if err := b.Joins("web-1", a); err != nil {
		t.Error(err)
	}
	if err := b.Joins("web-2", a); err == nil || !strings.Contains(err.Error(), "container web-1") {
		t.Errorf("the same address: %v", err)
	}
	if err := b.Joins("a", container.Attachment{Network: "one"}); err != nil {
		t.Error(err)
	}
	if err := b.Joins("b", container.Attachment{Network: "one"}); err == nil || !strings.Contains(err.Error(), "connects 1 at most") {
		t.Errorf("passthru twice: %v", err)
	}
	for i := range 1023 {
		if err := b.Joins(fmt.Sprint(i), container.Attachment{Network: "any"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Joins("last", container.Attachment{Network: "any"}); err == nil || !strings.Contains(err.Error(), "second network") {
		t.Errorf("one too many for a bridge: %v", err)
	}
}

func TestOwners(t *testing.T) {
	t.Parallel()
	b := book()
	b.Leaves("1", "old", container.Endpoint{Network: "dual", Endpoint: netdriver.Endpoint{
		IPv4: netip.MustParsePrefix("10.1.0.7/24"), IPv6: netip.MustParsePrefix("fd00::7/64"), MAC: net.HardwareAddr{2, 0, 0, 0, 0, 0xa},
	}})
	for _, c := range []struct {
		name string
		a    container.Attachment
		want string
	}{
		{"new", container.Attachment{Network: "dual", IPv4: "10.1.0.7"}, "[1] []"},
		{"new", container.Attachment{Network: "dual", IPv4: "10.1.0.8", IPv6: "fd00:0::7"}, "[1] []"},
		{"new", container.Attachment{Network: "dual", MAC: "02-00-00-00-00-0A"}, "[] [1]"},
		{"new", container.Attachment{Network: "dual"}, "[] []"},
		{"new", container.Attachment{Network: "front", IPv4: "10.1.0.7", MAC: "02:00:00:00:00:0a"}, "[] []"},
		{"old", container.Attachment{Network: "dual", IPv4: "10.1.0.7", MAC: "02:00:00:00:00:0a"}, "[] []"},
	} {
		addrs, hardware := b.Owners(c.name, c.a)
		if got := fmt.Sprint(addrs, " ", hardware); got != c.want {
			t.Errorf("%s %+v: %s, want %s", c.name, c.a, got, c.want)
		}
	}
}
