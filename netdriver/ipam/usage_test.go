package ipam

import (
	"math"
	"net/netip"
	"testing"
)

func TestUsage(t *testing.T) {
	t.Parallel()
	addrs := func(texts ...string) (all []netip.Addr) {
		for _, s := range texts {
			all = append(all, netip.MustParseAddr(s))
		}
		return all
	}
	for _, tt := range []struct {
		subnet, span string
		aux, taken   []netip.Addr
		used, free   uint64
	}{
		{"10.0.0.0/16", "", nil, nil, 3, 65533}, // docker's own numbers for the same networks
		{"10.99.0.0/24", "10.99.0.0/26", addrs("10.99.0.200", "10.99.0.10"), nil, 5, 61},
		{"10.99.0.0/24", "10.99.0.128/25", nil, addrs("10.99.0.130"), 4, 126},
		{"fd00::/64", "", nil, nil, 2, math.MaxUint64 - 1},
		{"fd00::/64", "", nil, addrs("fd00::9"), 3, math.MaxUint64 - 2},
		{"fd00::/56", "", nil, nil, 2, math.MaxUint64},
		{"fd00::/64", "fd00::/80", nil, nil, 2, 1<<48 - 2},
	} {
		c := Config{Subnet: netip.MustParsePrefix(tt.subnet), Aux: tt.aux}
		if tt.span != "" {
			c.Range = netip.MustParsePrefix(tt.span)
		}
		p := pool(t, c)
		for _, a := range tt.taken {
			if err := p.Take(a, "x"); err != nil {
				t.Fatal(err)
			}
		}
		if used, free := p.Usage(); used != tt.used || free != tt.free {
			t.Errorf("%s of %s: %d used, %d free; want %d and %d", tt.span, tt.subnet, used, free, tt.used, tt.free)
		}
	}
}
