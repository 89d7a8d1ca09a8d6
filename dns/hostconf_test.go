package dns

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

func TestParseResolvConf(t *testing.T) {
	t.Parallel()
	got := ParseResolvConf([]byte(`# made by hand
; nameserver 10.0.0.9
nameserver 10.0.0.1
nameserver	fe80::1%eth0
nameserver not.an.address
nameserver
domain old.example
search corp.example lan
options edns0
options trust-ad timeout:1
sortlist 10.0.0.0
`))
	want := HostConfig{
		Nameservers: addrs("10.0.0.1", "fe80::1%eth0"),
		Search:      []string{"corp.example", "lan"},
		Options:     []string{"edns0", "trust-ad", "timeout:1"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
}

func TestHostUpstreamsFollowTheFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h := &HostUpstreams{path: filepath.Join(dir, "resolv.conf"), behindStub: filepath.Join(dir, "behind")}
	expect := func(want ...string) {
		t.Helper()
		var list []netip.AddrPort
		for _, addr := range addrs(want...) {
			list = append(list, netip.AddrPortFrom(addr, 53))
		}
		for range 2 {
			if got := h.Upstreams(); fmt.Sprint(got) != fmt.Sprint(list) {
				t.Errorf("got %v, want %v", got, list)
			}
		}
	}
	replace := func(path, content string) {
		t.Helper()
		if err := os.WriteFile(path+".new", []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	expect("127.0.0.1") // resolv.conf(5): the default without a file
	replace(h.path, "nameserver 10.0.0.1\nnameserver 10.0.0.1\nsearch lan\n")
	expect("10.0.0.1")
	if got := h.Config().Search; len(got) != 1 || got[0] != "lan" {
		t.Errorf("search %v", got)
	}
	replace(h.path, "nameserver 10.0.0.2\nnameserver ::1\n")
	expect("10.0.0.2", "::1")
	replace(h.path, "nameserver 127.0.0.53\noptions edns0 trust-ad\n")
	expect("127.0.0.53")
	replace(h.behindStub, "nameserver 10.0.0.3\n")
	expect("127.0.0.53", "10.0.0.3")
	replace(h.behindStub, "nameserver 10.0.0.4\n")
	expect("127.0.0.53", "10.0.0.4")
	if err := os.Remove(h.path); err != nil {
		t.Fatal(err)
	}
	expect("127.0.0.1")
}

func TestResolvConf(t *testing.T) {
	t.Parallel()
	host := HostConfig{Nameservers: addrs("10.0.0.1", "10.0.0.2"), Search: []string{"lan"}, Options: []string{"edns0"}}
	for _, c := range []struct {
		name  string
		spec  ResolvConfSpec
		want  string
		local bool
	}{
		{"empty", ResolvConfSpec{}, "nameserver 127.0.0.11\noptions ndots:0\n", false},
		{"host", ResolvConfSpec{Host: host}, "nameserver 127.0.0.11\nsearch lan\noptions edns0 ndots:0\n", false},
		{
			"service",
			ResolvConfSpec{Host: host, Servers: addrs("9.9.9.9"), Search: []string{"a", "b"}, Options: []string{"ndots:2"}},
			"nameserver 127.0.0.11\nsearch a b\noptions ndots:2\n", true,
		},
		{"no search", ResolvConfSpec{Host: host, Search: []string{"."}}, "nameserver 127.0.0.11\noptions edns0 ndots:0\n", false},
		{"bad ndots", ResolvConfSpec{Options: []string{"ndots:-1", "ndots", "ndots:x"}}, "nameserver 127.0.0.11\noptions ndots:0\n", false},
		{"ndots 0", ResolvConfSpec{Options: []string{"ndots:0"}}, "nameserver 127.0.0.11\noptions ndots:0\n", false},
		{"no new lines", ResolvConfSpec{Search: []string{"a\nnameserver 6.6.6.6"}}, "nameserver 127.0.0.11\nsearch a nameserver 6.6.6.6\noptions ndots:0\n", false},
		{"host network", ResolvConfSpec{Host: host, HostNetwork: true}, "nameserver 10.0.0.1\nnameserver 10.0.0.2\nsearch lan\noptions edns0\n", false},
		{
			"host network, own servers",
			ResolvConfSpec{Host: host, HostNetwork: true, Servers: addrs("9.9.9.9")},
			"nameserver 9.9.9.9\nsearch lan\noptions edns0\n", false,
		},
	} {
		got, local := ResolvConf(c.spec)
		if string(got) != c.want || local != c.local {
			t.Errorf("%s: %q, %t", c.name, got, local)
		}
	}
	if got := ClientUpstreams(addrs("9.9.9.9")); len(got) != 1 || got[0] != netip.MustParseAddrPort("9.9.9.9:53") {
		t.Errorf("client upstreams %v", got)
	}
}
