package netns

import (
	"net"
	"net/netip"
	"testing"
)

// The number must change when somebody begins or ceases to listen in the namespace, and for nothing else.
func TestListeners(t *testing.T) {
	t.Parallel()
	ns, err := NewBare()
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	l, err := ns.Listeners()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	except := [4]byte{127, 0, 0, 11}
	sum := func() uint64 {
		t.Helper()
		n, err := l.Sum(except)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	listen := func(addr string) net.Listener {
		t.Helper()
		c, err := ns.ListenTCP(netip.MustParseAddrPort(addr))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if n := sum(); n != 0 {
		t.Errorf("nobody listens: %d", n)
	}
	first := listen("0.0.0.0:80")
	one := sum()
	if one == 0 || sum() != one {
		t.Errorf("one listens: %d, then %d", one, sum())
	}
	second := listen("[::]:81")
	if n := sum(); n == one || n == 0 {
		t.Errorf("another one listens: %d", n)
	}
	second.Close()
	if n := sum(); n != one {
		t.Errorf("the other one has ceased: %d, want %d", n, one)
	}
	first.Close()
	if n := sum(); n != 0 {
		t.Errorf("nobody listens any more: %d", n)
	}
}

func BenchmarkListeners(b *testing.B) {
	ns, err := NewBare()
	if err != nil {
		b.Fatal(err)
	}
	defer ns.Close()
	l, err := ns.Listeners()
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	for b.Loop() {
		if _, err := l.Sum([4]byte{}); err != nil {
			b.Fatal(err)
		}
	}
}
