package relay

import (
	"net/netip"
	"strings"
	"testing"
)

func TestMessage(t *testing.T) {
	t.Parallel()
	host, target := netip.MustParseAddrPort("[::]:8080"), netip.MustParseAddrPort("172.18.0.2:80")
	for _, m := range []Message{
		{Verb: Lead, Seq: 1, Proto: "tcp", Host: host, Target: target},
		{Verb: Drop, Seq: 1<<64 - 1, Proto: "sctp", Host: host},
		{Verb: Done, Seq: 3},
		{Verb: Failed, Seq: 4, Text: "no such port: its socket has to come along"},
	} {
		got, err := Parse(m.String())
		if err != nil || got != m {
			t.Errorf("%q is read as %+v, %v", m, got, err)
		}
	}
	long := Message{Verb: Failed, Text: strings.Repeat("x", 2*MaxMessage)}
	if n := len(long.String()); n > MaxMessage {
		t.Errorf("a message of %d bytes", n)
	}
	for _, packet := range []string{
		"", "lead", "lead 1", "lead x tcp [::]:80 1.2.3.4:80", "lead 1 tcp [::]:80", "lead 1 tcp here 1.2.3.4:80",
		"lead 1 tcp [::]:80 1.2.3.4", "drop 1 tcp", "drop -1 tcp [::]:80", "sing 1 tcp [::]:80", "lead 1 tcp [::]:80 1.2.3.4:80 more",
	} {
		if m, err := Parse(packet); err == nil {
			t.Errorf("%q is read as %+v", packet, m)
		}
	}
}
