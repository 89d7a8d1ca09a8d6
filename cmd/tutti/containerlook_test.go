package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/moby/moby/api/types/network"

	"tutti/scheduler/api"
)

func TestPortLines(t *testing.T) {
	t.Parallel()
	at := func(host, port string) network.PortBinding {
		b := network.PortBinding{HostPort: port}
		if host != "" {
			b.HostIP = netip.MustParseAddr(host)
		}
		return b
	}
	ports := network.PortMap{
		network.MustParsePort("443/tcp"): {at("::", "8443"), at("0.0.0.0", "8443")}, network.MustParsePort("80/tcp"): {at("127.0.0.1", "8080")},
		network.MustParsePort("53/udp"): {at("", "5353")}, network.MustParsePort("81/tcp"): nil,
	}
	for _, c := range []struct {
		wanted string
		lines  []string
		err    string
	}{
		{"", []string{"53/udp -> :5353", "80/tcp -> 127.0.0.1:8080", "443/tcp -> 0.0.0.0:8443", "443/tcp -> [::]:8443"}, ""},
		{"443", []string{"0.0.0.0:8443", "[::]:8443"}, ""},
		{"53/udp", []string{":5353"}, ""},
		{"53/tcp", nil, "no public port '53/tcp' published for web"},
		{"81", nil, "no public port '81' published for web"},
		{"x/udp", nil, `invalid port (x): strconv.ParseUint: parsing "x": invalid syntax`},
		{"70000", nil, `invalid port (70000): strconv.ParseUint: parsing "70000": value out of range`},
	} {
		lines, err := portLines(ports, "web", c.wanted)
		if text := fmt.Sprint(err); !slices.Equal(lines, c.lines) || text != c.err && (err != nil || c.err != "") {
			t.Errorf("%q: %q, %v", c.wanted, lines, err)
		}
	}
}

func TestSplitMissing(t *testing.T) {
	t.Parallel()
	gone, other := &api.StatusError{Code: 404, Message: "gone"}, errors.New("other")
	if missing, rest := splitMissing(errors.Join(gone, other, gone)); len(missing) != 2 || rest == nil || rest.Error() != "other" {
		t.Errorf("%v, %v", missing, rest)
	}
	if missing, rest := splitMissing(errors.Join(gone)); len(missing) != 1 || rest != nil {
		t.Errorf("%v, %v", missing, rest)
	}
	if missing, rest := splitMissing(nil); missing != nil || rest != nil {
		t.Errorf("%v, %v", missing, rest)
	}
}

func TestContainerQueries(t *testing.T) {
	t.Parallel()
	logs := containerLogsFlags{tail: "5", follow: true, since: "10s", until: "2026-01-02T03:04:05.5Z"}
	o, err := logs.options(time.Unix(1000, 7))
	q := logs.query(o)
	if want := "details=false&follow=true&since=990.000000007&stderr=1&stdout=1&tail=5&timestamps=false&until=1767323045.500000000"; err != nil || q.Encode() != want {
		t.Errorf("%s, %v", q.Encode(), err)
	}
	if _, err := (&containerLogsFlags{since: "yesterday"}).options(time.Now()); err == nil {
		t.Error("a time that is none is taken")
	}
	for want, o := range map[string]containerListFlags{
		"all=false&filters=%7B%7D&size=false":                         {last: -1},
		"all=true&filters=%7B%22name%22%3A%5B%22a%22%5D%7D&size=true": {all: true, last: -1, size: true, filters: []string{"name=a"}},
		"all=false&filters=%7B%7D&limit=1&size=false":                 {latest: true, last: -1},
		"all=false&filters=%7B%7D&limit=3&size=true":                  {last: 3, format: "{{.Size}}"},
	} {
		if q, err := o.query(); err != nil || q.Encode() != want {
			t.Errorf("%+v: %s, %v", o, q.Encode(), err)
		}
	}
}
