package ipam

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

func pool(t *testing.T, c Config) *Pool {
	t.Helper()
	p, err := NewPool(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// next asks for addresses, one per key, and returns them with blanks between.
func next(t *testing.T, p *Pool, keys ...string) string {
	t.Helper()
	var got []string
	for _, k := range keys {
		a, err := p.Next(k)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, a.String())
	}
	return strings.Join(got, " ")
}

func TestPoolGivesOutInTurn(t *testing.T) {
	t.Parallel()
	p := pool(t, Config{Subnet: netip.MustParsePrefix("10.0.0.0/29")})
	if p.Gateway().String() != "10.0.0.1" {
		t.Errorf("gateway %s", p.Gateway())
	}
	if got, want := next(t, p, "", "", "", ""), "10.0.0.2 10.0.0.3 10.0.0.4 10.0.0.5"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	p.Release(netip.MustParseAddr("10.0.0.3"))
	p.Release(netip.MustParseAddr("10.0.0.3"))
	if got, want := next(t, p, "", ""), "10.0.0.6 10.0.0.3"; got != want {
		t.Errorf("after a release got %s, want %s", got, want)
	}
	_, err := p.Next("")
	if !errors.Is(err, ErrExhausted) || !strings.Contains(err.Error(), "larger ipam.config.subnet") {
		t.Errorf("a full pool: %v", err)
	}
	p.Release(netip.MustParseAddr("10.0.0.2"))
	if got := next(t, p, ""); got != "10.0.0.2" {
		t.Errorf("the last free address is 10.0.0.2, got %s", got)
	}
}

func TestPoolPrefersTheLastAddress(t *testing.T) {
	t.Parallel()
	c := Config{Subnet: netip.MustParsePrefix("10.0.0.0/24")}
	p := pool(t, c)
	if got := next(t, p, "web", "db"); got != "10.0.0.2 10.0.0.3" {
		t.Fatalf("got %s", got)
	}
	p.Release(netip.MustParseAddr("10.0.0.2"))
	if got := next(t, p, "new", "web", "web"); got != "10.0.0.4 10.0.0.2 10.0.0.5" {
		t.Errorf("got %s", got)
	}
	other := pool(t, c)
	other.Remember(p.Memory())
	if got := next(t, other, "db", "x"); got != "10.0.0.3 10.0.0.2" {
		t.Errorf("in another life got %s", got)
	}
	if got := next(t, other, "web", "new"); got != "10.0.0.5 10.0.0.4" {
		t.Errorf("after others got addresses, the last ones are %s", got)
	}
	other.Remember(map[string]netip.Addr{"evil": netip.MustParseAddr("10.0.0.255"), "far": netip.MustParseAddr("11.0.0.1")})
	if got := next(t, other, "evil", "far"); got != "10.0.0.6 10.0.0.7" {
		t.Errorf("a memory that cannot be is believed: %s", got)
	}
}

func TestPoolTakesKeptAddressesAtLast(t *testing.T) {
	t.Parallel()
	p := pool(t, Config{Subnet: netip.MustParsePrefix("10.0.0.0/29")})
	p.Remember(map[string]netip.Addr{"a": netip.MustParseAddr("10.0.0.2"), "b": netip.MustParseAddr("10.0.0.3")})
	if got := next(t, p, "", "c", "", "d", ""); got != "10.0.0.4 10.0.0.5 10.0.0.6 10.0.0.2 10.0.0.3" {
		t.Errorf("got %s", got)
	}
	if a, err := p.Next("a"); !errors.Is(err, ErrExhausted) {
		t.Errorf("a full pool gives %s, %v", a, err)
	}
}

func TestPoolTake(t *testing.T) {
	t.Parallel()
	p := pool(t, Config{
		Subnet: netip.MustParsePrefix("172.28.0.0/16"), Range: netip.MustParsePrefix("172.28.5.0/30"),
		Gateway: netip.MustParseAddr("172.28.5.254"), Aux: []netip.Addr{netip.MustParseAddr("172.28.5.1")},
	})
	for addr, want := range map[string]error{
		"172.28.9.9": nil, "172.29.0.1": ErrOutside, "172.28.5.254": ErrTaken, "172.28.5.1": ErrTaken,
		"172.28.0.0": ErrTaken, "172.28.255.255": ErrTaken, "fd00::1": ErrOutside,
	} {
		if err := p.Take(netip.MustParseAddr(addr), ""); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", addr, err, want)
		}
	}
	if err := p.Take(netip.Addr{}, ""); !errors.Is(err, ErrOutside) {
		t.Errorf("no address: %v", err)
	}
	if got := next(t, p, "", "", ""); got != "172.28.5.0 172.28.5.2 172.28.5.3" {
		t.Errorf("the range gives %s", got)
	}
	if a, err := p.Next(""); !errors.Is(err, ErrExhausted) {
		t.Errorf("a full range gives %s, %v", a, err)
	}
}

func TestPoolAtTheEndOfTheAddressSpace(t *testing.T) {
	t.Parallel()
	p := pool(t, Config{Subnet: netip.MustParsePrefix("255.255.255.252/30")})
	if got := next(t, p, ""); got != "255.255.255.254" {
		t.Errorf("got %s", got)
	}
	if a, err := p.Next(""); !errors.Is(err, ErrExhausted) {
		t.Errorf("a full pool gives %s, %v", a, err)
	}
	six := pool(t, Config{Subnet: netip.MustParsePrefix("fd00:1::/64")})
	if got := six.Gateway().String() + " " + next(t, six, "", ""); got != "fd00:1::1 fd00:1::2 fd00:1::3" {
		t.Errorf("got %s", got)
	}
}

func TestPoolRefuses(t *testing.T) {
	t.Parallel()
	subnet := netip.MustParsePrefix("10.0.0.0/24")
	for want, c := range map[string]Config{
		"no room":       {Subnet: netip.MustParsePrefix("10.0.0.0/31")},
		"invalid":       {},
		"ip_range":      {Subnet: subnet, Range: netip.MustParsePrefix("10.0.1.0/28")},
		"ip_range 10":   {Subnet: subnet, Range: netip.MustParsePrefix("10.0.0.0/16")},
		"gateway":       {Subnet: subnet, Gateway: netip.MustParseAddr("10.0.1.1")},
		"aux_addresses": {Subnet: subnet, Aux: []netip.Addr{netip.MustParseAddr("10.0.0.1")}},
	} {
		if _, err := NewPool(c); err == nil || !strings.Contains(strings.ToLower(err.Error()), want) {
			t.Errorf("%+v: got %v, want %q", c, err, want)
		}
	}
}
