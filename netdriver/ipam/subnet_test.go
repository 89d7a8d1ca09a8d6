package ipam

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

func prefixes(s ...string) []netip.Prefix {
	var p []netip.Prefix
	for _, x := range s {
		p = append(p, netip.MustParsePrefix(x))
	}
	return p
}

func TestSubnetAvoidsWhatIsTaken(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, want string
		taken      []netip.Prefix
	}{
		{"an empty host", "172.18.0.0/16", nil},
		{"docker's bridge", "172.18.0.0/16", prefixes("172.17.0.0/16")},
		{"docker's networks", "172.20.0.0/16", prefixes("172.17.0.0/16", "172.18.0.0/16", "172.19.0.0/16")},
		{"an address inside", "172.19.0.0/16", prefixes("172.18.4.1/32")},
		{"a wide VPN", "192.168.0.0/20", prefixes("172.16.0.0/12")},
		{"a home router", "192.168.16.0/20", prefixes("172.16.0.0/12", "192.168.1.0/24")},
		{"all of 192.168", "10.0.0.0/20", prefixes("172.16.0.0/12", "192.168.0.0/16")},
		{"half of 10", "10.128.0.0/20", prefixes("172.16.0.0/12", "192.168.0.0/16", "10.0.0.0/9")},
		{"a /16 of 10", "10.1.0.0/20", prefixes("172.16.0.0/12", "192.168.0.0/16", "10.0.7.0/24", "10.0.0.0/16")},
	} {
		got, err := Subnet(Defaults, c.taken)
		if err != nil || got.String() != c.want {
			t.Errorf("%s: got %s, %v, want %s", c.name, got, err, c.want)
		}
	}
}

func TestSubnetsForHundredsOfNetworks(t *testing.T) {
	t.Parallel()
	var taken []netip.Prefix
	for len(taken) < 300 {
		s, err := Subnet(Defaults, taken)
		if err != nil {
			t.Fatal(err)
		}
		if hosts := 1<<(32-s.Bits()) - 3; hosts < 1022 {
			t.Fatalf("%s has only %d addresses for containers", s, hosts)
		}
		if o, yes := Overlaps(s, taken); yes {
			t.Fatalf("%s overlaps %s", s, o)
		}
		taken = append(taken, s)
	}
	_, err := Subnet(Defaults, prefixes("0.0.0.0/1", "128.0.0.0/1"))
	if !errors.Is(err, ErrNoSubnet) || !strings.Contains(err.Error(), "ipam.config.subnet") {
		t.Errorf("a full host: %v", err)
	}
}

func TestSubnet6(t *testing.T) {
	t.Parallel()
	a, err := Subnet6(nil, "ab12", nil)
	if err != nil {
		t.Fatal(err)
	}
	if !netip.MustParsePrefix("fd00::/8").Contains(a.Addr()) || a.Bits() != 64 {
		t.Errorf("%s is no unique local /64", a)
	}
	if again, _ := Subnet6(nil, "ab12", nil); again != a {
		t.Errorf("the same seed gives %s and %s", a, again)
	}
	b, err := Subnet6(nil, "ab12", []netip.Prefix{a})
	if err != nil || b.Overlaps(a) || b.Addr() != last(a).Next() {
		t.Errorf("after %s comes %s, %v", a, b, err)
	}
	if other, _ := Subnet6(nil, "cd34", nil); other.Overlaps(netip.PrefixFrom(a.Addr(), 48)) {
		t.Errorf("seeds share %s", other)
	}
}

func TestLast(t *testing.T) {
	t.Parallel()
	for prefix, want := range map[string]string{
		"10.0.0.0/8": "10.255.255.255", "10.1.2.3/30": "10.1.2.3", "192.168.16.0/20": "192.168.31.255",
		"1.2.3.4/32": "1.2.3.4", "fd00::/64": "fd00::ffff:ffff:ffff:ffff", "0.0.0.0/0": "255.255.255.255",
	} {
		if got := last(netip.MustParsePrefix(prefix)); got.String() != want {
			t.Errorf("last of %s is %s, want %s", prefix, got, want)
		}
	}
}
