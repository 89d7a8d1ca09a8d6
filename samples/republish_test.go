package samples

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// A container whose outlet changes, while it runs, between networks that translate addresses and networks that are routed, of
// one family or the other: its ports are taken of the host or open at its own address, as they are when it is started so.
func TestPortsFollowTheKindOfNetwork(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.write("compose.yaml", `
x-base: &base {image: busybox, command: sleep 1000, init: true, stop_grace_period: 0s}
services:
  app: {<<: *base, networks: [nat], ports: ["8080:80"]}
  other: {<<: *base, networks: [routed, nat6, routed6]}
networks:
  nat: {}
  routed: {driver_opts: {com.docker.network.bridge.gateway_mode_ipv4: routed}}
  nat6: {enable_ipv4: false, enable_ipv6: true}
  routed6: {enable_ipv4: false, enable_ipv6: true, driver_opts: {com.docker.network.bridge.gateway_mode_ipv6: routed}}
`)
	s.must("up", "-d")
	published := func(want string) (is string) {
		t.Helper()
		other := map[string]string{"--dport 80 ": "DNAT|LISTEN", "-j DNAT": "OPEN"}[want] // which goes in the background
		eventually(t, commandTimeout, func() error {
			is = s.must("container", "port", "project-app-1") +
				s.host.sh(s.host.pid, "(iptables-save; ip6tables-save) | grep -E 'OPEN.*--dport|PORTS.*DNAT' | sort; ss -Hltn sport = 8080 | sort")
			if !strings.Contains(is, want) || regexp.MustCompile(other).MatchString(is) {
				return fmt.Errorf("the ports are\n%swant %s and nothing of %s", is, want, other)
			}
			return nil
		})
		return is
	}
	for _, step := range []struct{ network, want string }{
		{"connect --gw-priority 5 project_routed", "--dport 80 "},
		{"disconnect project_nat", "--dport 80 "},
		{"connect --gw-priority 9 project_nat", "-j DNAT"},
		{"disconnect project_nat", "--dport 80 "},
		{"connect project_nat6", "--dport 80 "},
		{"disconnect project_routed", "-j DNAT"},
		{"connect --gw-priority 9 project_routed6", "--dport 80 "},
		{"disconnect project_routed6", "-j DNAT"},
		{"connect project_nat", "-j DNAT"},
	} {
		s.must(append(append([]string{"network"}, strings.Fields(step.network)...), "project-app-1")...)
		changed := published(step.want)
		s.must("restart", "app")
		if started := published(step.want); changed != started {
			t.Errorf("after %s the ports are\n%safter a start they are\n%s", step.network, changed, started)
		}
	}
}
