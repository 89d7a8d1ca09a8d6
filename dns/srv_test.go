package dns

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	mdns "github.com/miekg/dns"
)

// servicesTable: web (two replicas, the second with one more port) and db on net, seen by web.
func servicesTable() *Table {
	http, https, domain := Port{Port: 80, Proto: "tcp", Name: "http"}, Port{Port: 443, Proto: "tcp"}, Port{Port: 53, Proto: "udp", Name: "Domain"}
	var records []Record
	for i, ports := range [][]Port{{http}, {http, https}} {
		for _, name := range []string{fmt.Sprintf("shop-web-%d", i+1), "Web"} {
			records = append(records, Record{
				NetworkID: "n", NetworkName: "shop_net", Name: name, Host: fmt.Sprintf("shop-web-%d", i+1), Ports: ports,
				Addrs: addrs(fmt.Sprintf("10.1.0.%d", i+2), fmt.Sprintf("fd00::%d", i+2)),
			})
		}
	}
	records = append(records,
		Record{NetworkID: "n", NetworkName: "shop_net", Name: "db", Host: "shop-db-1", Ports: []Port{domain}, Addrs: addrs("10.1.0.9")},
		Record{NetworkID: "other", NetworkName: "other", Name: "far", Host: "far-1", Ports: []Port{http}, Addrs: addrs("10.2.0.9")},
		Record{NetworkID: "links", Name: "backend", Host: "shop-db-1", Ports: []Port{domain}, Addrs: addrs("10.1.0.9")},
	)
	return NewTable(records, []Client{{ID: "web", Networks: []string{"links", "n"}}})
}

func TestServices(t *testing.T) {
	t.Parallel()
	up := newUpstream(t, echo)
	s := newServer(t, Config{Upstreams: use(up.addr)})
	s.Set(servicesTable())
	at := serveOn(t, s, "web")
	const both = "80 shop-web-1.shop_net. 80 shop-web-2.shop_net."
	for _, c := range []struct {
		name, qtype string
		rcode       int
		want        string
	}{
		{"_80._tcp.web.", "SRV", 0, both},
		{"_HTTP._TCP.WEB.", "SRV", 0, both},
		{"_http._tcp.web.shop_net.", "SRV", 0, both},
		{"_80._tcp.shop-web-1.", "SRV", 0, "80 shop-web-1.shop_net."},
		{"_443._tcp.web.", "SRV", 0, "443 shop-web-2.shop_net."},
		{"_domain._udp.db.", "SRV", 0, "53 shop-db-1.shop_net."},
		{"_53._udp.backend.", "SRV", 0, "53 shop-db-1."},
		{"_80._tcp.web.", "ANY", 0, both},
		{"_80._tcp.web.", "A", 0, ""},
		{"_53._tcp.db.", "SRV", mdns.RcodeNameError, ""}, // over UDP alone
		{"_81._tcp.web.", "SRV", mdns.RcodeNameError, ""},
		{"_._tcp.web.", "SRV", mdns.RcodeNameError, ""}, // a port without a name
		{"web.", "SRV", 0, ""},
		// Not names of ours: somebody else may know.
		{"_80._tcp.far.", "A", 0, "192.0.2.1"},
		{"_80._tls.web.", "A", 0, "192.0.2.1"},
		{"_80.web.", "A", 0, "192.0.2.1"},
		{"_80._tcp.", "A", 0, "192.0.2.1"},
		{"_sip._tcp.example.org.", "A", 0, "192.0.2.1"},
	} {
		for _, network := range []string{"udp", "tcp"} {
			in := ask(t, network, at, c.name, mdns.StringToType[c.qtype])
			got := strings.Join(values(in), " ")
			if c.want == both && got == "80 shop-web-2.shop_net. 80 shop-web-1.shop_net." {
				got = both
			}
			if in.Rcode != c.rcode || got != c.want || in.Question[0].Name != c.name {
				t.Errorf("%s %s over %s: %s %q, want %s %q", c.name, c.qtype, network, mdns.RcodeToString[in.Rcode], got, mdns.RcodeToString[c.rcode], c.want)
			}
		}
	}
}

// The addresses come along, and those who ask begin with different containers.
func TestServicesCarryAddresses(t *testing.T) {
	t.Parallel()
	s := newServer(t, Config{})
	s.Set(servicesTable())
	at := serveOn(t, s, "web")
	first := map[string]int{}
	for range 4 {
		in := ask(t, "udp", at, "_80._tcp.web.", mdns.TypeSRV)
		first[in.Answer[0].(*mdns.SRV).Target]++
		got := map[string]bool{}
		for _, rr := range in.Extra {
			switch a := rr.(type) {
			case *mdns.A:
				got[a.Hdr.Name+" "+a.A.String()] = true
			case *mdns.AAAA:
				got[a.Hdr.Name+" "+a.AAAA.String()] = true
			}
		}
		if len(got) != 4 || !got["shop-web-1.shop_net. 10.1.0.2"] || !got["shop-web-2.shop_net. fd00::3"] {
			t.Errorf("addresses %v", got)
		}
	}
	if first["shop-web-1.shop_net."] != 2 || first["shop-web-2.shop_net."] != 2 {
		t.Errorf("first answers: %v", first)
	}
}

// Addresses are left out before records are, and what is left out of those is told.
func TestServicesTruncation(t *testing.T) {
	t.Parallel()
	var records []Record
	for i := range 300 {
		records = append(records, Record{
			NetworkID: "n", NetworkName: "network", Name: "many", Host: fmt.Sprintf("shop-many-%d", i), Ports: []Port{{Port: 80, Proto: "tcp"}},
			Addrs: []netip.Addr{netip.AddrFrom4([4]byte{10, 9, byte(i >> 8), byte(i)})},
		})
	}
	s := newServer(t, Config{})
	s.Set(NewTable(records, []Client{{ID: "c", Networks: []string{"n"}}}))
	at := serveOn(t, s, "c")
	for _, c := range []struct {
		size, limit, least int
	}{{0, 512, 11}, {900, 900, 20}, {4096, 1232, 25}} {
		in := ask(t, "udp", at, "_80._tcp.many.", mdns.TypeSRV, func(m *mdns.Msg) {
			if c.size > 0 {
				m.SetEdns0(uint16(c.size), false)
			}
		})
		in.Compress = true
		packed, err := in.Pack()
		if err != nil || len(packed) > c.limit || len(in.Answer) < c.least || !in.Truncated || (in.IsEdns0() != nil) != (c.size > 0) {
			t.Errorf("%d: %d bytes, %d records, truncated %t: %v", c.size, len(packed), len(in.Answer), in.Truncated, err)
		}
	}
	in := ask(t, "tcp", at, "_80._tcp.many.", mdns.TypeSRV)
	if in.Truncated || len(in.Answer) != 300 || len(in.Extra) != 300 {
		t.Errorf("over TCP: %d records, %d addresses, truncated %t", len(in.Answer), len(in.Extra), in.Truncated)
	}
}
