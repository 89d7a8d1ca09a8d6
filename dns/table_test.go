package dns

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	mdns "github.com/miekg/dns"
)

// theTable: web on front, api on both, db (two replicas) on back.
func theTable() *Table {
	return NewTable([]Record{
		{NetworkID: "f", NetworkName: "front", Name: "shop-web-1", Addrs: addrs("10.1.0.2", "fd00:1::2")},
		{NetworkID: "f", NetworkName: "front", Name: "Web", Addrs: addrs("10.1.0.2", "fd00:1::2")},
		{NetworkID: "f", NetworkName: "front", Name: "api", Addrs: addrs("10.1.0.3")},
		{NetworkID: "b", NetworkName: "back", Name: "api", Addrs: addrs("10.2.0.3")},
		{NetworkID: "b", NetworkName: "back", Name: "db", Addrs: addrs("10.2.0.4")},
		{NetworkID: "b", NetworkName: "back", Name: "db", Addrs: addrs("10.2.0.5", "10.2.0.4")},
		{NetworkID: "b", NetworkName: "back", Name: "my.dotted_name", Addrs: addrs("10.2.0.9")},
		{NetworkID: "b", Name: "a..b", Addrs: addrs("10.2.0.10")},
		{NetworkID: "b", Name: strings.Repeat("x", 64), Addrs: addrs("10.2.0.11")},
	}, []Client{
		{ID: "web", Networks: []string{"f"}},
		{ID: "api", Networks: []string{"b", "f"}},
		{ID: "db", Networks: []string{"b"}, Internal: true},
		{ID: "search", Networks: []string{"f"}, LocalSingle: true},
	})
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	s := newServer(t, Config{Upstreams: use(deadPort(t))})
	s.Set(theTable())
	ports := map[string]string{}
	for _, id := range []string{"web", "api", "db", "search", "stranger"} {
		ports[id] = serveOn(t, s, id)
	}
	for _, c := range []struct {
		client, name, qtype string
		rcode               int
		want                string
	}{
		{"web", "web.", "A", 0, "10.1.0.2"},
		{"web", "web.", "AAAA", 0, "fd00:1::2"},
		{"web", "WEB.", "A", 0, "10.1.0.2"},
		{"web", "web.front.", "A", 0, "10.1.0.2"},
		{"web", "web.back.", "A", mdns.RcodeServerFailure, ""},
		{"web", "shop-web-1.", "A", 0, "10.1.0.2"},
		{"web", "web.", "ANY", 0, "10.1.0.2 fd00:1::2"},
		{"web", "web.", "MX", 0, ""},
		{"web", "web.", "HTTPS", 0, ""},
		{"web", "api.", "A", 0, "10.1.0.3"},
		{"web", "api.", "AAAA", 0, ""},
		{"web", "db.", "A", mdns.RcodeServerFailure, ""},
		{"web", "ap.", "A", mdns.RcodeServerFailure, ""},
		{"web", ".", "NS", mdns.RcodeServerFailure, ""},
		{"web", "web.", "AXFR", mdns.RcodeRefused, ""},
		{"api", "api.", "A", 0, "10.2.0.3"},
		{"api", "api.front.", "A", 0, "10.1.0.3"},
		{"api", "web.", "A", 0, "10.1.0.2"},
		{"api", "my.dotted_name.", "A", 0, "10.2.0.9"},
		{"api", `my\.dotted_name.`, "A", mdns.RcodeServerFailure, ""},
		{"web", "2.0.1.10.in-addr.arpa.", "PTR", 0, "shop-web-1.front."},
		{"web", "4.0.2.10.in-addr.arpa.", "PTR", mdns.RcodeServerFailure, ""},
		{"api", "4.0.2.10.IN-ADDR.arpa.", "PTR", 0, "db.back."},
		{"web", "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.0.0.d.f.ip6.arpa.", "PTR", 0, "shop-web-1.front."},
		{"db", "example.org.", "A", mdns.RcodeServerFailure, ""},
		{"db", "web.", "A", mdns.RcodeServerFailure, ""},
		{"search", "unknown.", "A", 0, ""},
		{"search", "unknown.", "TXT", mdns.RcodeServerFailure, ""},
		{"search", "un.known.", "A", mdns.RcodeServerFailure, ""},
		{"stranger", "web.", "A", mdns.RcodeServerFailure, ""},
	} {
		for _, network := range []string{"udp", "tcp"} {
			if c.qtype == "AXFR" && network == "tcp" {
				continue // the client library reads transfers as streams of messages
			}
			t.Run(fmt.Sprint(c.client, " ", c.name, " ", c.qtype, " ", network), func(t *testing.T) {
				in := ask(t, network, ports[c.client], c.name, mdns.StringToType[c.qtype])
				if got := strings.Join(values(in), " "); in.Rcode != c.rcode || got != c.want {
					t.Errorf("%s %q, want %s %q", mdns.RcodeToString[in.Rcode], got, mdns.RcodeToString[c.rcode], c.want)
				}
				if in.Question[0].Name != c.name {
					t.Errorf("the question came back as %q", in.Question[0].Name)
				}
				for _, rr := range in.Answer {
					if rr.Header().Ttl != 600 || rr.Header().Name != c.name {
						t.Errorf("record %v", rr)
					}
				}
				if !in.RecursionAvailable || !in.RecursionDesired {
					t.Error("flags of recursion are wrong")
				}
			})
		}
	}
	if want := []string{"a..b", strings.Repeat("x", 64)}; !slices.Equal(theTable().Skipped(), want) {
		t.Errorf("skipped %q", theTable().Skipped())
	}
}

func TestRotation(t *testing.T) {
	t.Parallel()
	s := newServer(t, Config{})
	s.Set(theTable())
	at := serveOn(t, s, "db")
	first := map[string]int{}
	for range 10 {
		ask(t, "udp", at, "db.", mdns.TypeAAAA) // what resolvers ask in between must not spoil the rotation
		got := values(ask(t, "udp", at, "db.", mdns.TypeA))
		first[got[0]]++
		if slices.Sort(got); !slices.Equal(got, []string{"10.2.0.4", "10.2.0.5"}) {
			t.Fatalf("got %v", got)
		}
	}
	if first["10.2.0.4"] != 5 || first["10.2.0.5"] != 5 {
		t.Errorf("first answers: %v", first)
	}
}

func TestTruncation(t *testing.T) {
	t.Parallel()
	var many []netip.Addr
	for i := range 500 {
		many = append(many, netip.AddrFrom4([4]byte{10, 9, byte(i >> 8), byte(i)}))
	}
	s := newServer(t, Config{})
	s.Set(NewTable([]Record{{NetworkID: "n", Name: "many", Addrs: many}}, []Client{{ID: "c", Networks: []string{"n"}}}))
	at := serveOn(t, s, "c")
	edns := func(size uint16) func(*mdns.Msg) {
		return func(m *mdns.Msg) { m.SetEdns0(size, true) }
	}
	for _, c := range []struct {
		size     uint16
		max, min int
	}{{0, 512, 480}, {100, 512, 480}, {900, 900, 870}, {1232, 1232, 1200}, {65535, 1232, 1200}} {
		var in *mdns.Msg
		if c.size == 0 {
			in = ask(t, "udp", at, "many.", mdns.TypeA)
		} else {
			in = ask(t, "udp", at, "many.", mdns.TypeA, edns(c.size))
			if opt := in.IsEdns0(); opt == nil || opt.UDPSize() != 1232 || !opt.Do() {
				t.Errorf("size %d: OPT %v", c.size, opt)
			}
		}
		in.Compress = true
		if n := in.Len(); !in.Truncated || n > c.max || n < c.min {
			t.Errorf("size %d: %d bytes, truncated %t", c.size, n, in.Truncated)
		}
	}
	in := ask(t, "tcp", at, "many.", mdns.TypeA, edns(1232))
	if in.Truncated || len(in.Answer) != 500 {
		t.Errorf("over TCP: %d records, truncated %t", len(in.Answer), in.Truncated)
	}
	in = ask(t, "udp", at, "many.", mdns.TypeA, func(m *mdns.Msg) {
		m.SetEdns0(1232, false)
		m.IsEdns0().SetVersion(1)
	})
	if in.Rcode != mdns.RcodeBadVers || len(in.Answer) != 0 {
		t.Errorf("EDNS version 1: %v", in)
	}
}

func TestSetSwapsNames(t *testing.T) {
	t.Parallel()
	s := newServer(t, Config{})
	at := serveOn(t, s, "c")
	for i := range 50 {
		addr := fmt.Sprintf("10.0.0.%d", i)
		s.Set(NewTable([]Record{{NetworkID: "n", Name: "x", Addrs: addrs(addr)}}, []Client{{ID: "c", Networks: []string{"n"}}}))
		if got := values(ask(t, "udp", at, "x.", mdns.TypeA)); len(got) != 1 || got[0] != addr {
			t.Fatalf("got %v, want %s", got, addr)
		}
	}
}
