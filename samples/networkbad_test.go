package samples

import (
	"regexp"
	"strings"
	"testing"
)

// Networks, and places on them, that cannot be: each message names the service or the network, and file and line, and says
// what to do. Nothing is made before: links, rules and records are compared after each.
func TestBadNetworks(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.host.sh(s.host.pid, "ip link add other0 type veth peer name other1 && ip route add 10.77.0.0/16 via "+neighbourAddress+
		" && ip rule add from 192.0.2.200 table 77 && ip route add 10.78.5.0/24 via "+neighbourAddress+" table 77")
	s.waitUntilIdle()
	before := s.host.snapshot()
	s.must("network", "create", "--subnet", "10.90.0.0/24", "taken")
	s.write("taken.yaml", "services: {holder: {image: busybox, command: sleep 1000, init: true, networks: {taken: {ipv4_address: 10.90.0.50}}}}\nnetworks: {taken: {external: true}}\n")
	s.must("-p", "holder", "-f", s.dir+"/taken.yaml", "up", "-d")
	record := func() string {
		return s.onHost("ip -o link | cut -d : -f 2 | sed 's/@.*//'; iptables-save | grep -v '^[:#]'; ls " + s.root + "/networks")
	}
	has := record()

	const service = "services:\n  web: {image: busybox, command: sleep 1000, init: true, networks: {front: {%}}}\nnetworks:\n  front:\n"
	on := func(attributes, network string) string { return strings.Replace(service, "%", attributes, 1) + network }
	const subnet = "    ipam: {config: [{subnet: 10.91.0.0/24, gateway: 10.91.0.254, aux_addresses: {router: 10.91.0.9}}]}\n"
	option := func(o string) string { return on("", "    driver_opts:\n      "+o+"\n") }
	for name, c := range map[string]struct{ file, want string }{
		"subnet of another network": {on("", "    ipam: {config: [{subnet: 10.90.0.128/25}]}\n"), `compose.yaml:5: network bad_front: subnet 10.90.0.128/25 overlaps 10.90.0.0/24 of network taken: choose another.*\(network of service "web"\)`},
		"subnet of an interface":    {on("", "    ipam:\n      config:\n        - subnet: 192.0.2.128/25\n"), `compose.yaml:7: .*overlaps 192.0.2.0/24 of interface uplink`},
		"subnet of a route":         {on("", "    ipam: {config: [{subnet: 10.64.0.0/12}]}\n"), `compose.yaml:5: .*overlaps the route to 10.7[78].`},
		"subnet of a policy route":  {on("", "    ipam: {config: [{subnet: 10.78.0.0/16}]}\n"), `compose.yaml:5: .*overlaps the route to 10.78.5.0/24`},
		"subnets of one file": {
			on("", subnet) + "  back:\n    ipam: {config: [{subnet: 10.91.0.0/16}]}\n", `nothing uses back`,
		},
		"subnets of one network":  {on("", "    ipam: {config: [{subnet: 10.91.0.0/24}, {subnet: 10.91.0.0/25}]}\n"), `compose.yaml:5: .*subnet 10.91.0.0/25 overlaps 10.91.0.0/24 of the same network`},
		"no subnet":               {on("", "    ipam: {config: [{subnet: 10.91.0.0}]}\n"), `compose.yaml:5: network bad_front: .*10.91.0.0`},
		"host bits":               {on("", "    ipam: {config: [{subnet: 10.91.0.5/24}]}\n"), `compose.yaml:5: .*the subnet is 10.91.0.0/24`},
		"tiny subnet":             {on("", "    ipam: {config: [{subnet: 10.91.0.0/31}]}\n"), `compose.yaml:5: .*no room for a gateway and a container`},
		"gateway outside":         {on("", "    ipam: {config: [{subnet: 10.91.0.0/24, gateway: 10.92.0.1}]}\n"), `compose.yaml:5: .*gateway: .*10.92.0.1`},
		"gateway alone":           {on("", "    ipam: {config: [{gateway: 10.92.0.1}]}\n"), `compose.yaml:5: .*need a subnet beside`},
		"no gateway":              {on("", "    ipam: {config: [{subnet: 10.91.0.0/24, gateway: router}]}\n"), `compose.yaml:5: .*"router" is no address`},
		"ip_range outside":        {on("", "    ipam: {config: [{subnet: 10.91.0.0/24, ip_range: 10.92.0.0/28}]}\n"), `compose.yaml:5: .*ip_range 10.92.0.0/28 is not a part of subnet 10.91.0.0/24`},
		"aux outside":             {on("", "    ipam: {config: [{subnet: 10.91.0.0/24, aux_addresses: {x: 10.92.0.1}}]}\n"), `compose.yaml:5: .*aux_addresses: .*10.92.0.1`},
		"aux is the gateway":      {on("", "    ipam: {config: [{subnet: 10.91.0.0/24, aux_addresses: {x: 10.91.0.1}}]}\n"), `compose.yaml:5: .*aux_addresses: .*taken.*10.91.0.1`},
		"ipam driver":             {on("", "    ipam: {driver: dhcp}\n"), `compose.yaml:5: .*"dhcp" is not there: use default or null`},
		"nobody gives addresses":  {on("", "    ipam: {driver: 'null'}\n"), `compose.yaml:\d: .*IPv4 or IPv6 must be enabled`},
		"no family":               {on("", "    enable_ipv4: false\n"), `compose.yaml:5: .*IPv4 or IPv6 must be enabled`},
		"subnet without family":   {on("", "    enable_ipv4: false\n    enable_ipv6: true\n"+subnet), `compose.yaml:7: .*enable_ipv4 switches off`},
		"driver":                  {on("", "    driver: overlay9\n"), `compose.yaml:5: .*"overlay9" is not there: use bridge, macvlan or ipvlan`},
		"driver host":             {on("", "    driver: host\n"), `compose.yaml:5: .*only one instance of "host" network is allowed`},
		"MTU":                     {option("com.docker.network.driver.mtu: big"), `compose.yaml:6: network bad_front: "big" is no number`},
		"small MTU":               {option("com.docker.network.driver.mtu: 10"), `compose.yaml:6: .*from 68 to 65535`},
		"gateway mode":            {option("com.docker.network.bridge.gateway_mode_ipv4: bridged"), `compose.yaml:6: .*none of nat, nat-unprotected, routed, isolated`},
		"isolated, not internal":  {option("com.docker.network.bridge.gateway_mode_ipv4: isolated"), `compose.yaml:6: .*needs a network that is internal`},
		"switch":                  {option("com.docker.network.bridge.enable_icc: sometimes"), `compose.yaml:6: .*neither true nor false`},
		"binding":                 {option("com.docker.network.bridge.host_binding_ipv4: localhost"), `compose.yaml:6: .*"localhost" is not an address`},
		"long bridge name":        {option("com.docker.network.bridge.name: a-bridge-too-far"), `compose.yaml:6: .*at most 15 characters.*\(network of service "web"\)`},
		"bridge name of somebody": {option("com.docker.network.bridge.name: other0"), `compose.yaml:6: .*already, and it is no bridge but of type veth`},
		"missing parent":          {on("", "    driver: macvlan\n    driver_opts: {parent: nic7}\n"), `compose.yaml:6: .*no interface nic7`},
		"missing external":        {on("", "    external: true\n    name: nowhere\n"), `compose.yaml:4: network "front": .*nowhere; create it.*\(network of service "web"\)`},

		"address outside":        {on("ipv4_address: 10.92.0.5", subnet), `compose.yaml:2: service "web": .*10.92.0.5 is in no subnet of network bad_front, 10.91.0.0/24`},
		"address of the gateway": {on("ipv4_address: 10.91.0.254", subnet), `compose.yaml:2: service "web": .*is the gateway of network bad_front`},
		"address of a machine":   {on("ipv4_address: 10.91.0.9", subnet), `compose.yaml:2: service "web": .*kept for router`},
		"address of all":         {on("ipv4_address: 10.91.0.255", subnet), `compose.yaml:2: service "web": .*stands for all of subnet`},
		"address anywhere":       {on("ipv4_address: 10.91.0.5", "    driver: bridge\n"), `compose.yaml:2: service "web": .*name one in its ipam.config.subnet`},
		"IPv6 address":           {on("ipv6_address: 'fd00::5'", subnet), `compose.yaml:2: service "web": .*has no IPv6: give it .enable_ipv6: true`},
		"address that is taken": {
			on("ipv4_address: 10.90.0.50", "    external: true\n    name: taken\n"), `compose.yaml:2: service "web": .*10.90.0.50 is the address of container holder-holder-1`,
		},
		"address twice": {
			"services:\n  a: {image: busybox, command: sleep 9, networks: {front: {ipv4_address: 10.91.0.5}}}\n  b: {image: busybox, command: sleep 9, networks: {front: {ipv4_address: 10.91.0.5}}}\nnetworks:\n  front:\n" + subnet,
			`compose.yaml:[23]: service "[ab]": .*is the address of container bad-[ab]-1`,
		},
		"address of several": {strings.Replace(on("ipv4_address: 10.91.0.5", subnet), "init: true", "scale: 2", 1), `compose.yaml:2: service "web": .*is the address of container bad-web-[12]`},
		"host-gateway on macvlan": {
			strings.Replace(on("", "    driver: macvlan\n    driver_opts: {parent: uplink}\n    ipam: {config: [{subnet: 192.0.2.0/24}]}\n"), "init: true", `init: true, extra_hosts: ["me=host-gateway"]`, 1),
			`compose.yaml:2: service "web": .*the host has no address on bad_front: put the service on a bridge network`,
		},
		"host-gateway apart": {
			strings.Replace(on("", "    internal: true\n    driver_opts: {com.docker.network.bridge.gateway_mode_ipv4: isolated}\n"), "init: true", `init: true, extra_hosts: ["me=host-gateway"]`, 1),
			`compose.yaml:2: service "web": .*the host has no address on bad_front`,
		},
		"hardware address":  {on("mac_address: 'what'", ""), `compose.yaml:2: service "web": .*what`},
		"mode and networks": {strings.Replace(on("", ""), "init: true", "network_mode: host", 1), `compose.yaml:2: service "web": .*exclude each other`},
		"host_ip of nobody": {strings.Replace(on("", ""), "init: true", "ports: ['203.0.113.9:80:80']", 1), `compose.yaml:2: service "web": .*203.0.113.9:80/tcp: 203.0.113.9 is no address of this host`},
		"binding of nobody": {strings.Replace(option("com.docker.network.bridge.host_binding_ipv4: 203.0.113.9"), "init: true", "ports: ['80:80']", 1), `compose.yaml:2: service "web": .*203.0.113.9:80/tcp: 203.0.113.9 is no address of this host`},
		"unknown network":   {"services:\n  web: {image: busybox, networks: [nowhere]}\n", `compose.yaml:2: service "web": .*"nowhere", which is not defined`},
	} {
		if name == "subnets of one file" {
			c.file = strings.Replace(c.file, "networks: {front: {}}", "networks: {front: {}, back: {}}", 1)
			c.want = `compose.yaml:\d: .*subnet 10.91.0.0/(16|24) overlaps 10.91.0.0/(16|24) of network bad_(front|back)`
		}
		s.write("compose.yaml", c.file)
		r := s.run("-p", "bad", "up", "-d")
		if r.code == 0 || !regexp.MustCompile(c.want).MatchString(r.stderr) || strings.Count(strings.TrimSpace(r.stderr), "\n") > 0 {
			t.Errorf("%s: want one line with %q: exit code %d: %s", name, c.want, r.code, r)
		}
		if now := record(); now != has {
			t.Errorf("%s: left behind: %s", name, difference(has, now))
			s.run("-p", "bad", "down", "-t", "0")
		}
	}
	s.write("compose.yaml", option("com.docker.network.bridge.nmae: x"))
	if r := s.run("-p", "bad", "up", "-d"); r.code != 0 || !regexp.MustCompile("compose.yaml:6: network bad_front: `com.docker.network.bridge.nmae` has no effect").MatchString(r.stderr) {
		t.Errorf("an option that nobody knows: %s", r)
	}
	s.must("-p", "bad", "down", "-t", "0")
	s.must("-p", "holder", "down", "-t", "0")
	s.must("network", "rm", "taken")
	s.mustBeAs(before)
}
