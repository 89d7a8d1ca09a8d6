package portmap

import (
	"errors"
	"log/slog"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// A port that the kernel has chosen stays the same and nobody else's, whether it rests or is led.
func TestChosenPortStays(t *testing.T) {
	t.Parallel()
	host := newHost(t)
	relay := NewRelay(RelayConfig{Host: host, Log: slog.Default()})
	target := netip.MustParseAddrPort("172.16.0.2:80")
	for _, proto := range []string{"tcp", "udp"} {
		for _, addr := range []string{"0.0.0.0:0", "127.0.0.1:0"} {
			s, err := Listen(host, relay, proto, netip.MustParseAddrPort(addr))
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			check := func(when string) {
				t.Helper()
				now, err := addressNow(s)
				if err != nil {
					t.Fatal(err)
				}
				if now != s.Addr() {
					t.Errorf("%s %s: %s: the socket has %s", when, proto, s.Addr(), now)
				}
				other, err := Listen(host, relay, proto, s.Addr())
				if !errors.Is(err, unix.EADDRINUSE) {
					t.Errorf("%s %s: another socket on %s: %v, want that it is taken", when, proto, s.Addr(), err)
				}
				if err == nil {
					other.Close()
				}
			}
			check("at first")
			if err := s.Lead(target); err != nil {
				t.Fatal(err)
			}
			check("led")
			if err := s.Rest(); err != nil {
				t.Fatal(err)
			}
			check("at rest")
		}
	}
}

// addressNow returns the address that the kernel knows of a socket.
func addressNow(s *Socket) (netip.AddrPort, error) {
	f, err := s.File()
	if err != nil {
		return netip.AddrPort{}, err
	}
	same, err := FromFile(s.relay, f)
	if err != nil {
		return netip.AddrPort{}, err
	}
	defer same.Forget()
	return same.Addr(), nil
}
