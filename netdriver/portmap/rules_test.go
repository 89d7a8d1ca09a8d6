package portmap

import (
	"flag"
	"net/netip"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files again")

// sample is what the golden files are made of.
var sample = Rules{
	Networks: []Network{
		{Bridge: "ttab1200000001", Subnets: []netip.Prefix{netip.MustParsePrefix("172.18.0.0/16")}, Masquerade: true},
		{
			Bridge: "ttab1200000002", Masquerade: true,
			Subnets: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/20"), netip.MustParsePrefix("fd00:1::/64")},
		},
		{Bridge: "ttab1200000003", Subnets: []netip.Prefix{netip.MustParsePrefix("192.168.16.0/20")}, Internal: true, Masquerade: true},
		{Bridge: "ttab1200000004", Subnets: []netip.Prefix{netip.MustParsePrefix("172.19.0.0/16")}},
	},
	Ports: []Port{
		{Proto: "tcp", Host: netip.MustParseAddrPort("0.0.0.0:8080"), Container: netip.MustParseAddrPort("172.18.0.2:80")},
		{Proto: "udp", Host: netip.MustParseAddrPort("0.0.0.0:53"), Container: netip.MustParseAddrPort("172.18.0.3:5353")},
		{Proto: "sctp", Host: netip.MustParseAddrPort("0.0.0.0:3868"), Container: netip.MustParseAddrPort("172.18.0.3:3868")},
		{Proto: "tcp", Host: netip.MustParseAddrPort("127.0.0.1:5432"), Container: netip.MustParseAddrPort("172.19.0.2:5432")},
		{Proto: "tcp", Host: netip.MustParseAddrPort("[::]:443"), Container: netip.MustParseAddrPort("[fd00:1::2]:8443")},
		{Proto: "tcp", Host: netip.MustParseAddrPort("[::]:8080"), Container: netip.MustParseAddrPort("172.18.0.2:80")}, // the proxy's
	},
}

// golden compares with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := "testdata/" + name
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != got {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

func TestRules(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]family{"iptables.golden": ipv4, "ip6tables.golden": ipv6} {
		golden(t, name, batch(f, "ab12", allTables, chains(f, "ab12", sample), tables{}))
	}
}

func TestNoNetworkNoRules(t *testing.T) {
	t.Parallel()
	if got := chains(ipv6, "ab12", Rules{Networks: sample.Networks[:1]}); got != nil {
		t.Errorf("an IPv4 network has IPv6 chains: %v", got)
	}
	if got := batch(ipv4, "ab12", allTables, nil, parse("*filter\n:FORWARD ACCEPT [0:0]\nCOMMIT\n")); got != "" {
		t.Errorf("to have nothing where nothing is takes %q", got)
	}
}

// Steps from one state to the next: what is sent to iptables-restore.
func TestBatch(t *testing.T) {
	t.Parallel()
	port := "-p tcp -m tcp --dport 80 -j DNAT --to-destination 172.18.0.2:80"
	for _, c := range []struct {
		name, have string
		want       []chain
		batch      string
	}{
		{
			name:  "a rule more and one less",
			have:  "*nat\n:TUTTI-AB12-PORTS - [0:0]\n-A TUTTI-AB12-PORTS a\n-A TUTTI-AB12-PORTS b\n" + natJumps,
			want:  []chain{{"nat", "TUTTI-AB12-PORTS", []string{"b", port}, false}},
			batch: "*nat\n-D TUTTI-AB12-PORTS a\n-A TUTTI-AB12-PORTS " + port + "\nCOMMIT\n",
		},
		{
			name:  "a rule that is there twice",
			have:  "*nat\n:TUTTI-AB12-PORTS - [0:0]\n-A TUTTI-AB12-PORTS a\n-A TUTTI-AB12-PORTS a\n" + natJumps,
			want:  []chain{{"nat", "TUTTI-AB12-PORTS", []string{"a"}, false}},
			batch: "*nat\n-D TUTTI-AB12-PORTS a\nCOMMIT\n",
		},
		{
			name:  "another order where it means nothing",
			have:  "*nat\n:TUTTI-AB12-PORTS - [0:0]\n-A TUTTI-AB12-PORTS b\n-A TUTTI-AB12-PORTS a\n" + natJumps,
			want:  []chain{{"nat", "TUTTI-AB12-PORTS", []string{"a", "b"}, false}},
			batch: "",
		},
		{
			name:  "another order where it means something",
			have:  "*nat\n:TUTTI-AB12-PORTS - [0:0]\n-A TUTTI-AB12-PORTS b\n-A TUTTI-AB12-PORTS a\n" + natJumps,
			want:  []chain{{"nat", "TUTTI-AB12-PORTS", []string{"a", "b"}, true}},
			batch: "*nat\n:TUTTI-AB12-PORTS - [0:0]\n-A TUTTI-AB12-PORTS a\n-A TUTTI-AB12-PORTS b\nCOMMIT\n",
		},
		{
			name: "docker came first, and a jump is there twice",
			have: "*nat\n:TUTTI-AB12-PORTS - [0:0]\n-A PREROUTING -j DOCKER\n" + natJumps +
				"-A POSTROUTING -j TUTTI-CD34-SOURCE\n-A POSTROUTING -j TUTTI-AB12-SOURCE\n",
			want: []chain{{"nat", "TUTTI-AB12-PORTS", nil, false}},
			batch: "*nat\n-D PREROUTING ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j TUTTI-AB12-PORTS\n-I PREROUTING ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j TUTTI-AB12-PORTS\n" +
				"-D POSTROUTING -j TUTTI-AB12-SOURCE\n-D POSTROUTING -j TUTTI-AB12-SOURCE\n-I POSTROUTING -j TUTTI-AB12-SOURCE\nCOMMIT\n",
		},
		{
			name: "a jump of an older version",
			have: "*nat\n:TUTTI-AB12-PORTS - [0:0]\n-A PREROUTING -m addrtype --dst-type LOCAL -j TUTTI-AB12-PORTS\n" + strings.Join(strings.SplitAfter(natJumps, "\n")[1:], ""),
			want: []chain{{"nat", "TUTTI-AB12-PORTS", nil, false}},
			batch: "*nat\n-D PREROUTING -m addrtype --dst-type LOCAL -j TUTTI-AB12-PORTS\n" +
				"-I PREROUTING ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j TUTTI-AB12-PORTS\nCOMMIT\n",
		},
		{
			name:  "another instance came first",
			have:  "*nat\n:TUTTI-AB12-PORTS - [0:0]\n-A PREROUTING ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j TUTTI-CD34-PORTS\n" + natJumps,
			want:  []chain{{"nat", "TUTTI-AB12-PORTS", nil, false}},
			batch: "",
		},
		{
			name: "the end",
			have: "*nat\n:TUTTI-AB12-PORTS - [0:0]\n:TUTTI-AB12-OLD - [0:0]\n:TUTTI-CD34-PORTS - [0:0]\n-A PREROUTING -j DOCKER\n" + natJumps,
			batch: "*nat\n-D PREROUTING ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j TUTTI-AB12-PORTS\n-D OUTPUT -m addrtype --dst-type LOCAL -j TUTTI-AB12-PORTS\n" +
				"-D POSTROUTING -j TUTTI-AB12-SOURCE\n-F TUTTI-AB12-OLD\n-F TUTTI-AB12-PORTS\n-X TUTTI-AB12-OLD\n-X TUTTI-AB12-PORTS\nCOMMIT\n",
		},
	} {
		// The filter table would only add its jumps.
		_, got, _ := strings.Cut(batch(ipv4, "ab12", allTables, c.want, parse(c.have)), "*nat\n")
		if got != "" {
			got = "*nat\n" + got
		}
		if got != c.batch {
			t.Errorf("%s: got\n%s\nwant\n%s", c.name, got, c.batch)
		}
	}
}

const natJumps = `-A PREROUTING ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j TUTTI-AB12-PORTS
-A OUTPUT -m addrtype --dst-type LOCAL -j TUTTI-AB12-PORTS
-A POSTROUTING -j TUTTI-AB12-SOURCE
`
