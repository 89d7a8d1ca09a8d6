package main

import (
	"net/netip"
	"testing"
	"time"

	"tutti/scheduler/api"
)

func TestNetworkCheck(t *testing.T) {
	t.Parallel()
	db := netip.MustParseAddr("10.0.0.3")
	report := api.Reach{Project: "demo", Checks: []api.ReachCheck{
		{From: "db", To: "db", Result: api.ReachYes, Summary: "at 127.0.0.1"},
		{From: "db", To: "outside", Result: api.ReachNo, Reason: api.ReasonInternal, Summary: "no way out"},
		{
			From: "web", To: "db", Port: "53/udp", Result: api.ReachClosed, Reason: api.ReasonLoopbackOnly, Summary: "it listens on 127.0.0.1:53 only",
			Name: &api.ReachName{Name: "db", Addrs: []netip.Addr{db, netip.MustParseAddr("fd00::3")}},
			Paths: []api.ReachPath{
				{Container: "demo-db-1", Network: "demo_default", Address: db, Port: 53, Proto: "udp", Detail: "it listens on 127.0.0.1:53 only"},
				{Address: db, Proto: "icmp", Reached: true, Detail: "answers", RTT: 123456 * time.Nanosecond},
				{Container: "demo-db-2", Proto: "icmp", Reason: api.ReasonNoNetwork, Detail: "demo-db-2 is on no network"},
			},
		},
		{From: "web", To: "outside", Result: api.ReachYes, Name: &api.ReachName{Name: "x", Error: "NXDOMAIN"}},
	}}
	c := newCLI(t).compose("services: {web: {image: x}, db: {image: x}}\n")
	c.answer(api.Prefix+"/projects/demo/reach", report)
	c.run("network", "check").expect(t, 0, "FROM \\ TO  db      outside\ndb         yes     no\nweb        closed  yes\n\nweb → db:53/udp: closed, it listens on 127.0.0.1:53 only\n", "")
	c.run("network", "check", "--format", "markdown").expect(t, 0, "| from \\ to | db | outside |\n|---|---|---|\n| db | yes | no |\n| web | closed | yes |\n", "")
	c.run("network", "check", "web").expect(t, 0, `db → db: yes, at 127.0.0.1
db → outside: no, no way out
web → db:53/udp: closed, it listens on 127.0.0.1:53 only
    db resolves to 10.0.0.3, fd00::3
    10.0.0.3:53/udp (demo-db-1 on demo_default): it listens on 127.0.0.1:53 only
    10.0.0.3 by ping: answers, after 120µs
    (demo-db-2): demo-db-2 is on no network
web → outside: yes
    x does not resolve: NXDOMAIN
`, "")
	for result, want := range map[api.ReachResult]int{api.ReachYes: 0, api.ReachPartly: 2, api.ReachClosed: 2, api.ReachNo: 2} {
		c := newCLI(t).compose("services: {web: {image: x}}\n")
		c.answer(api.Prefix+"/projects/demo/reach", api.Reach{Checks: []api.ReachCheck{{From: "web", To: "db", Result: result}}})
		c.run("network", "check", "web", "db").expect(t, want, "web → db: "+string(result)+"\n", "")
	}
	c.run("network", "check", "--format", "xml").expect(t, 1, "", "format value \"xml\" could not be parsed: parsing failed\n")
}
