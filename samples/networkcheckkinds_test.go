package samples

import (
	"errors"
	"strings"
	"testing"

	"tutti/scheduler/api"
)

const checkKindsProject = `
name: kinds
x-server: &server {image: "busybox:latest", command: "httpd -f -p [::]:80", init: true, stop_grace_period: 0s, expose: ["80"]}
services:
  apart1: {<<: *server, networks: [apart]}
  apart2: {<<: *server, networks: [apart], ports: ["8080:80"]}
  both: {<<: *server, networks: [apart, six]}
  six1: {<<: *server, networks: [six], extra_hosts: ["myhost=host-gateway"]}
  lan1: {<<: *server, command: httpd -f -p 80, networks: [lan]}
  mixed: {<<: *server, networks: {lan: {gw_priority: 1}, absent: {}, open: {}}, extra_hosts: ["myhost=host-gateway"]}
  lan2: {<<: *server, command: httpd -f -p 80, networks: [lan]}
  routed: {<<: *server, networks: [routed], ports: ["80"]}
  open: {<<: *server, networks: [open]}
  lone1: {<<: *server, networks: [lone]}
  lone2: {<<: *server, networks: [lone]}
  absent: {<<: *server, networks: [absent]}
  metal: {<<: *server, command: httpd -f -p 7070, network_mode: host, expose: ["7070"]}
  guest: {image: "busybox:latest", init: true, stop_grace_period: 0s, command: "httpd -f -p [::]:81", network_mode: "service:six1"}
networks:
  apart: {enable_ipv6: true, driver_opts: {com.docker.network.bridge.enable_icc: "false"}}
  six: {enable_ipv4: false, enable_ipv6: true}
  lan: {driver: macvlan, driver_opts: {parent: uplink}, ipam: {config: [{subnet: 192.0.2.0/24, ip_range: 192.0.2.64/28, gateway: 192.0.2.2}]}}
  routed: {driver_opts: {com.docker.network.bridge.gateway_mode_ipv4: routed}}
  open: {driver_opts: {com.docker.network.bridge.gateway_mode_ipv4: nat-unprotected}}
  lone: {internal: true, driver_opts: {com.docker.network.bridge.gateway_mode_ipv4: isolated}}
  absent: {driver_opts: {com.docker.network.bridge.inhibit_ipv4: "true"}}
`

// On networks of every kind, and over IPv6, what is found is what packets do, and what is not reached has its own reason.
func TestNetworkCheckKinds(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.host.sh(s.host.neighbour, "ip -6 addr add 2001:db8:2::2/64 dev peer0 nodad")
	s.host.sh(s.host.pid, "ip -6 addr add 2001:db8:2::1/64 dev uplink nodad && ip -6 route add default via 2001:db8:2::2")
	s.write("compose.yaml", checkKindsProject)
	s.must("up", "-d")
	for _, c := range []struct {
		from, to string
		result   api.ReachResult
		reason   api.ReachReason
		text     string // that the summary has
	}{
		{"apart1", "apart1", api.ReachYes, "", "127.0.0.1"},
		{"apart1", "apart2", api.ReachNo, api.ReasonNoICC, "containers on kinds_apart may not talk"},
		{"apart2", "apart1:22", api.ReachNo, api.ReasonNoICC, "enable_icc"},
		{"apart1", "host:8080", api.ReachYes, "", "over kinds_apart"}, // by the published port
		{"apart1", "outside", api.ReachYes, "", "192.0.2.2 answers, 2001:db8:2::2 answers"},
		{"both", "apart1", api.ReachNo, api.ReasonNoICC, ""},
		{"both", "six1", api.ReachYes, "", "over kinds_six"},
		{"six1", "both", api.ReachYes, "", "over kinds_six"},
		{"six1", "apart1", api.ReachNo, api.ReasonNoCommon, "they share no network"},
		{"six1", "host", api.ReachYes, "", "over kinds_six"},
		{"six1", "host:7070", api.ReachYes, "", "over kinds_six"},
		{"six1", "outside", api.ReachYes, "", "2001:db8:2::2 answers"},
		{"six1", "2001:db8:2::2", api.ReachYes, "", "2001:db8:2::2"},
		{"six1", "192.0.2.2", api.ReachNo, api.ReasonNoRoute, "no route"},
		{"guest", "outside", api.ReachYes, "", "2001:db8:2::2 answers"},
		{"guest", "both", api.ReachYes, "", "over kinds_six"},
		{"both", "guest:81", api.ReachYes, "", "over kinds_six"},
		{"lan1", "lan2", api.ReachYes, "", "over kinds_lan"},
		{"lan1", "outside", api.ReachYes, "", "192.0.2.2 answers"},
		{"lan1", "host", api.ReachNo, api.ReasonBeside, "does not connect the host with containers on kinds_lan (macvlan)"},
		{"lan1", "metal", api.ReachNo, api.ReasonBeside, "kinds_lan (macvlan)"},
		{"metal", "lan1", api.ReachNo, api.ReasonBeside, "kinds_lan"},
		{"lan1", "apart1", api.ReachNo, api.ReasonNoCommon, ""},
		{"metal", "apart1", api.ReachYes, "", ""},
		{"metal", "outside", api.ReachYes, "", "192.0.2.2 answers"},
		{"open", "routed", api.ReachYes, "", "kinds_routed"}, // what is published of it, at its own address
		{"open", "routed:81", api.ReachNo, api.ReasonNoCommon, ""},
		{"routed", "open", api.ReachNo, api.ReasonNoCommon, ""},
		{"lone1", "lone2", api.ReachYes, "", "over kinds_lone"},
		{"lone1", "host", api.ReachNo, api.ReasonNoNetwork, "the host has no address on the networks of lone1: kinds_lone"},
		{"lone1", "metal", api.ReachNo, api.ReasonNoNetwork, ""},
		{"lone1", "outside", api.ReachNo, api.ReasonInternal, "no way out of kinds_lone"},
		{"absent", "host", api.ReachNo, api.ReasonNoNetwork, "the host has no address"},
	} {
		var got api.ReachCheck
		eventually(t, commandTimeout, func() error { // a server may have to begin to listen
			if got = s.check("--timeout", checkLimit(c.result, c.reason), c.from, c.to); got.Result == api.ReachClosed && got.Result != c.result {
				return errors.New(got.Summary)
			}
			return nil
		})
		if got.Result != c.result || c.reason != "" && got.Reason != c.reason || !strings.Contains(got.Summary, c.text) {
			t.Errorf("%s → %s: %+v, want %s %s %q", c.from, c.to, got, c.result, c.reason, c.text)
		}
	}
	for _, service := range []string{"six1", "mixed"} { // on IPv6 alone, and where the way out is beside the host
		if r := s.run("exec", "-T", service, "wget", "-qO-", "http://myhost:7070/nothing"); !strings.Contains(r.stderr, "404") {
			t.Errorf("%s asks the host by host-gateway: %s", service, r)
		}
	}
	// IPv6 behind the host fails alone: the other family is enough, and both are named.
	s.host.sh(s.host.pid, "ip6tables -w -I FORWARD -d 2001:db8:2::2 -j DROP")
	if got := s.check("--timeout", "4s", "both", "outside"); got.Result != api.ReachYes || got.Summary != "192.0.2.2 answers, 2001:db8:2::2 does not" {
		t.Errorf("without IPv6 outside: %+v", got)
	}
	if got := s.check("--timeout", "1s", "six1", "outside"); got.Result != api.ReachNo || got.Reason != api.ReasonDropped {
		t.Errorf("IPv6 alone, which does not get out: %+v", got)
	}
	s.host.sh(s.host.pid, "ip -6 route replace default via fe80::1 dev uplink")
	if got := s.check("six1", "outside"); got.Result != api.ReachNo || got.Reason != api.ReasonNoUplink || !strings.Contains(got.Summary, "it has IPv6 alone, the host's routers are 192.0.2.2 and fe80::1") {
		t.Errorf("a router with a link-local address: %+v", got)
	}
	s.must("down")
}
