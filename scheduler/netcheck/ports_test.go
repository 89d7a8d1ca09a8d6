package netcheck

import (
	"fmt"
	"net/netip"
	"testing"

	"tutti/netdriver"
	"tutti/scheduler/container"
)

// What is taken of the host for a port is what the network that it leads to says.
func TestHostPorts(t *testing.T) {
	t.Parallel()
	const bridge = "com.docker.network.bridge."
	networks := map[string]Network{}
	add := func(name string, change func(*netdriver.NetworkSpec), options ...string) {
		s := netdriver.NetworkSpec{Name: name, Options: map[string]string{}}
		for i := 0; i < len(options); i += 2 {
			s.Options[options[i]] = options[i+1]
		}
		if change != nil {
			change(&s)
		}
		networks[name] = Network{NetworkSpec: netdriver.WithGateways(s), New: true}
	}
	six := func(s *netdriver.NetworkSpec) { s.EnableIPv6 = true }
	add("plain", nil)
	add("dual", six)
	add("alone", func(s *netdriver.NetworkSpec) { s.NoIPv4, s.EnableIPv6 = true, true })
	add("cell", func(s *netdriver.NetworkSpec) { s.Internal = true })
	add("local", nil, bridge+"host_binding_ipv4", "127.0.0.1")
	add("all", nil, bridge+"host_binding_ipv4", "0.0.0.0")
	add("routed", nil, bridge+"gateway_mode_ipv4", "routed")
	add("routeddual", six, bridge+"gateway_mode_ipv4", "routed")
	add("routedboth", six, bridge+"gateway_mode_ipv4", "routed", bridge+"gateway_mode_ipv6", "routed")
	add("lan", func(s *netdriver.NetworkSpec) { s.Driver = "macvlan" }, "parent", "eth0")
	const free = "invalid IP" // of netip.Addr: all addresses of the host
	for _, c := range []struct {
		networks []string // their gw_priority falls
		hostIP   string
		want     string // the address of the host, "" for nothing
	}{
		{[]string{"plain"}, "", free},
		{[]string{"plain"}, "192.0.2.1", "192.0.2.1"},
		{[]string{"dual"}, "", free},
		{[]string{"alone"}, "", free},
		{[]string{"default, which is not made yet"}, "", free},
		{[]string{"cell"}, "", ""},
		{[]string{"cell", "plain"}, "", free},
		{nil, "", ""},
		{[]string{"local"}, "", "127.0.0.1"},
		{[]string{"local"}, "192.0.2.1", "192.0.2.1"},
		{[]string{"all"}, "", free},
		{[]string{"local", "plain"}, "", "127.0.0.1"},
		{[]string{"plain", "local"}, "", free},
		{[]string{"routed"}, "", ""},
		{[]string{"routed"}, "127.0.0.1", ""},
		{[]string{"routed"}, "::1", ""}, // IPv6 would lead to an address that is reached without the host
		{[]string{"routeddual"}, "", "::"},
		{[]string{"routedboth"}, "", ""},
		{[]string{"routed", "plain"}, "", ""},
		{[]string{"plain", "routed"}, "", free},
		{[]string{"lan"}, "", ""},
	} {
		var config container.Config
		for i, n := range c.networks {
			config.Networks = append(config.Networks, container.Attachment{Network: n, GwPriority: -i})
		}
		spec := netdriver.PortSpec{Proto: "tcp", HostPort: 80, ContainerPort: 80}
		if c.hostIP != "" {
			spec.HostIP = netip.MustParseAddr(c.hostIP)
		}
		got := ""
		for _, p := range New(networks).HostPorts(&config, []netdriver.PortSpec{spec}) {
			got += p.HostIP.String()
		}
		if got != c.want {
			t.Errorf("networks %s, host_ip %q: %q is taken, want %q", fmt.Sprint(c.networks), c.hostIP, got, c.want)
		}
	}
}
