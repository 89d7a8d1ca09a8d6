package reach

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"tutti/netdriver/probe"
	"tutti/scheduler/api"
)

func bound(proto string, addrs ...string) []probe.Bound {
	var all []probe.Bound
	for _, a := range addrs {
		all = append(all, probe.Bound{Proto: proto, Addr: netip.MustParseAddrPort(a)})
	}
	return all
}

func TestJudge(t *testing.T) {
	t.Parallel()
	seen := &probe.Sighting{Interface: "eth0", Source: netip.MustParseAddr("10.0.0.2")}
	for _, c := range []struct {
		what    string
		a       Attempt
		reached bool
		reason  api.ReachReason
		detail  string // that the text has
	}{
		{"connected", Attempt{Outcome: probe.Outcome{State: probe.Answered}}, true, "", "open"},
		{"an echo", Attempt{Proto: "icmp", Outcome: probe.Outcome{State: probe.Answered}}, true, "", "answers"},
		{"connected across", Attempt{Outcome: probe.Outcome{State: probe.Answered}, Barrier: Apart}, true, "", "open"},
		{"a datagram that arrives", Attempt{Proto: "udp", Outcome: probe.Outcome{State: probe.Silent, Seen: seen}, Sockets: bound("udp", "0.0.0.0:80")}, true, "", "delivered"},
		{"a datagram for nobody", Attempt{Proto: "udp", Outcome: probe.Outcome{State: probe.Silent, Seen: seen}}, false, api.ReasonUnanswered, "arrived at eth0"},
		{"a datagram that is lost", Attempt{Proto: "udp", Outcome: probe.Outcome{State: probe.Silent}, Watched: true, Sockets: bound("udp", "0.0.0.0:80")}, false, api.ReasonDropped, "nothing arrived"},
		{"no probe", Attempt{Outcome: probe.Outcome{State: probe.Failed, Err: errors.New("out of files")}}, false, api.ReasonProbeFailed, "out of files"},
		{"apart", Attempt{Outcome: probe.Outcome{State: probe.Silent}, Barrier: Apart, Watched: true}, false, api.ReasonNoCommon, "no network in common"},
		{"apart without a route", Attempt{Outcome: probe.Outcome{State: probe.NoRoute}, Barrier: Apart}, false, api.ReasonNoCommon, "no route"},
		{"apart, yet refused by itself", Attempt{Outcome: probe.Outcome{State: probe.Refused}, Barrier: Apart, Known: true}, false, api.ReasonNotListening, "nothing in web listens"},
		{"isolated", Attempt{Outcome: probe.Outcome{State: probe.Silent}, Barrier: Isolated, Networks: "net"}, false, api.ReasonNoICC, "containers on net may not"},
		{"inside", Attempt{Outcome: probe.Outcome{State: probe.NoRoute}, Barrier: Inside, Networks: "net"}, false, api.ReasonInternal, "no way out of net"},
		{"closed", Attempt{Outcome: probe.Outcome{State: probe.Refused}, Known: true, Sockets: bound("tcp", "0.0.0.0:81")}, false, api.ReasonNotListening, "nothing in web listens on port 80"},
		{"closed, nothing known", Attempt{Outcome: probe.Outcome{State: probe.Refused}}, false, api.ReasonNotListening, "or a firewall"},
		{"the resolver is nobody", Attempt{Outcome: probe.Outcome{State: probe.Refused}, Known: true, To: netip.MustParseAddrPort("10.0.0.3:53"), Sockets: bound("tcp", "127.0.0.11:53")}, false, api.ReasonNotListening, "port 53"},
		{"loopback", Attempt{Outcome: probe.Outcome{State: probe.Refused}, Known: true, Sockets: bound("tcp", "127.0.0.1:80", "[::1]:80")}, false, api.ReasonLoopbackOnly, "127.0.0.1:80 and [::1]:80 only"},
		{"elsewhere", Attempt{Outcome: probe.Outcome{State: probe.Refused}, Known: true, Sockets: bound("tcp", "127.0.0.1:80", "10.9.0.3:80")}, false, api.ReasonOtherAddress, "10.9.0.3:80 only"},
		{"for IPv6", Attempt{Outcome: probe.Outcome{State: probe.Refused}, Known: true, Sockets: bound("tcp", "[::]:80")}, false, api.ReasonOtherAddress, "for IPv6 alone"},
		{"rejected", Attempt{Outcome: probe.Outcome{State: probe.Refused}, Known: true, Sockets: bound("tcp", "0.0.0.0:80")}, false, api.ReasonRejected, "although web listens"},
		{"arrived", Attempt{Outcome: probe.Outcome{State: probe.Silent, Seen: seen}, Watched: true}, false, api.ReasonUnanswered, "look for a firewall in web"},
		{"lost", Attempt{Outcome: probe.Outcome{State: probe.Silent}, Watched: true}, false, api.ReasonDropped, "nothing arrived"},
		{"silent", Attempt{Outcome: probe.Outcome{State: probe.Silent}}, false, api.ReasonUnanswered, "no answer"},
		{"left", Attempt{Outcome: probe.Outcome{State: probe.Silent, Seen: seen}, Watched: true, Beyond: true}, false, api.ReasonUnanswered, "left the host by eth0"},
		{"did not leave", Attempt{Outcome: probe.Outcome{State: probe.Silent}, Watched: true, Beyond: true}, false, api.ReasonDropped, "nothing left"},
		{"not let out", Attempt{Outcome: probe.Outcome{State: probe.Prohibited}}, false, api.ReasonDropped, "inside"},
		{"no route", Attempt{Outcome: probe.Outcome{State: probe.NoRoute}}, false, api.ReasonNoRoute, "no route"},
		{"nobody there", Attempt{Outcome: probe.Outcome{State: probe.Unreachable}, Watched: true}, false, api.ReasonUnreachable, "nobody has"},
		{"prohibited there", Attempt{Outcome: probe.Outcome{State: probe.Unreachable, Seen: seen}, Watched: true}, false, api.ReasonRejected, "firewall"},
	} {
		c.a.Target = "web"
		if c.a.Proto == "" {
			c.a.Proto = "tcp"
		}
		if !c.a.To.IsValid() {
			c.a.To = netip.MustParseAddrPort("10.0.0.3:80")
		}
		reached, reason, detail := c.a.Judge()
		if reached != c.reached || reason != c.reason || !strings.Contains(detail, c.detail) {
			t.Errorf("%s: %t %q %q, want %t %q %q", c.what, reached, reason, detail, c.reached, c.reason, c.detail)
		}
	}
}

func TestSum(t *testing.T) {
	t.Parallel()
	path := func(container string, reason api.ReachReason) api.ReachPath {
		return api.ReachPath{Container: container, Network: "net", Reached: reason == "", Reason: reason, Detail: "because"}
	}
	for _, c := range []struct {
		paths  []api.ReachPath
		result api.ReachResult
		reason api.ReachReason
		text   string
	}{
		{[]api.ReachPath{path("a", "")}, api.ReachYes, "", "over net"},
		{[]api.ReachPath{path("a", ""), path("a", api.ReasonNotListening)}, api.ReachYes, "", "over net"},
		{[]api.ReachPath{path("a", ""), path("b", "")}, api.ReachYes, "", "over net"},
		{[]api.ReachPath{path("a", ""), path("b", api.ReasonDropped)}, api.ReachPartly, api.ReasonDropped, "because"},
		{[]api.ReachPath{path("a", api.ReasonLoopbackOnly)}, api.ReachClosed, api.ReasonLoopbackOnly, "because"},
		{[]api.ReachPath{path("a", api.ReasonDropped), path("a", api.ReasonNotListening)}, api.ReachClosed, api.ReasonNotListening, "because"},
		{[]api.ReachPath{path("a", api.ReasonDropped), path("b", api.ReasonDropped)}, api.ReachNo, api.ReasonDropped, "because"},
		{nil, api.ReachNo, "", ""},
	} {
		check := api.ReachCheck{Paths: c.paths}
		Sum(&check)
		if check.Result != c.result || check.Reason != c.reason || check.Summary != c.text {
			t.Errorf("%+v: %s %q %q, want %s %q %q", c.paths, check.Result, check.Reason, check.Summary, c.result, c.reason, c.text)
		}
	}
}

func TestParseTarget(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"db":                "db 0 ",
		"db:5432":           "db 5432 tcp",
		"db:53/udp":         "db 53 udp",
		"host:22/tcp":       "host 22 tcp",
		"10.0.0.1":          "10.0.0.1 0 ",
		"10.0.0.1:80":       "10.0.0.1 80 tcp",
		"fd00::1":           "fd00::1 0 ",
		"[fd00::1]":         "fd00::1 0 ",
		"[fd00::1]:80/udp":  "fd00::1 80 udp",
		"www.example.org:1": "www.example.org 1 tcp",
		"":                  "",
		":80":               "",
		"db:":               "",
		"db:0":              "",
		"db:70000":          "",
		"db:http":           "",
		"db:80x":            "",
		"db/udp":            "",
		"db:80/sctp":        "",
		"db:80/":            "",
	} {
		name, port, proto, err := ParseTarget(text)
		got := ""
		if err == nil {
			got = fmt.Sprint(name, " ", port, " ", proto)
		}
		if got != want {
			t.Errorf("%q: %q, %v; want %q", text, got, err, want)
		}
	}
}
