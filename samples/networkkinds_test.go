package samples

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Networks of every kind in one project: names resolve on each, traffic flows, and nothing is left.
func TestNetworkKinds(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.waitUntilIdle()
	before := s.host.snapshot()
	s.host.serve(80)
	s.write("compose.yaml", `
x-web: &web {image: "busybox:latest", init: true, stop_grace_period: 0s, command: 'sh -c "hostname > /tmp/index.html && exec httpd -f -h /tmp"'}
services:
  lan1: {<<: *web, hostname: lan1, networks: [lan], ports: ["8080:80"]}
  lan2: {<<: *web, hostname: lan2, networks: {lan: {ipv4_address: 192.0.2.77}}}
  six1: {<<: *web, hostname: six1, networks: [six], ports: ["8081:80"], command: 'sh -c "hostname > /tmp/index.html && exec httpd -f -p [::]:80 -h /tmp"'}
  six2: {<<: *web, hostname: six2, networks: [six]}
  many: {<<: *web, hostname: many, networks: {many: {ipv4_address: 10.93.2.5}}}
  next: {<<: *web, hostname: next, networks: [many]}
networks:
  lan:
    driver: macvlan
    driver_opts: {parent: uplink}
    ipam: {config: [{subnet: 192.0.2.0/24, ip_range: 192.0.2.64/28, gateway: 192.0.2.2}]}
  six: {enable_ipv4: false, enable_ipv6: true}
  many:
    driver_opts: {com.docker.network.bridge.name: many0, com.docker.network.container_iface_prefix: lan}
    ipam:
      config:
        - {subnet: 10.93.1.0/24}
        - {subnet: 10.93.2.0/24, gateway: 10.93.2.9}
`)
	s.must("up", "-d")
	get := func(from, address string) string {
		r := s.run("exec", "-T", from, "timeout", "30", "wget", "-q", "-O", "-", "http://"+address)
		return strings.TrimSpace(r.stdout + r.stderr)
	}
	for _, c := range [][3]string{
		{"lan1", "lan2", "lan2"}, {"lan2", "lan1", "lan1"}, {"six2", "six1", "six1"}, {"many", "next", "next"}, {"next", "many", "many"},
	} {
		// A server that has just been started needs a moment before it listens.
		eventually(t, commandTimeout, func() error {
			if got := get(c[0], c[1]); got != c[2] {
				return fmt.Errorf("%s asks %s: %q", c[0], c[1], got)
			}
			return nil
		})
	}
	if got := get("lan1", neighbourAddress); got != "192.0.2.64" {
		t.Errorf("the neighbour sees lan1 as %q", got)
	}
	if r := s.run("exec", "-T", "lan1", "nslookup", "many"); r.code == 0 {
		t.Errorf("lan1 resolves what is on another network: %s", r)
	}
	if got, err := s.host.get(s.host.neighbour, "192.0.2.77:80"); strings.TrimSpace(got) != "lan2" {
		t.Errorf("the neighbour asks lan2: %q, %v", got, err)
	}
	if got, err := s.host.getWithin(soon, s.host.pid, hostAddress+":8080"); err == nil {
		t.Errorf("a port of macvlan is published: %q", got)
	}
	if got, err := s.host.get(s.host.pid, "127.0.0.1:8081"); strings.TrimSpace(got) != "six1" {
		t.Errorf("the port of a container without IPv4: %q, %v", got, err)
	}
	if out := s.must("exec", "-T", "six1", "ip", "-4", "-o", "addr", "show", "scope", "global"); out != "" {
		t.Errorf("a container without IPv4 has %s", out)
	}
	if out := s.must("exec", "-T", "many", "ip", "-4", "-o", "addr", "show", "lan0"); !strings.Contains(out, "10.93.2.5/24") {
		t.Errorf("many has %s", out)
	}
	if out := s.onHost("ip -o addr show many0"); !strings.Contains(out, "10.93.1.1/24") || !strings.Contains(out, "10.93.2.9/24") {
		t.Errorf("the bridge with two subnets has %s", out)
	}
	s.must("up", "-d") // changes nothing
	s.must("down")

	// The administrator's pools, which end after two networks.
	pools := filepath.Join(s.root, "config.json")
	write := func(text string) {
		if err := os.WriteFile(pools, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"default-address-pools": [{"base": "10.94.0.0/23", "size": 24}, {"base": "fd94::/63", "size": 64}]}`)
	s.must("network", "create", "--ipv6", "one")
	s.must("network", "create", "two")
	if r := s.run("network", "create", "three"); r.code == 0 || !strings.Contains(r.stderr, "network three: no free subnet") || !strings.Contains(r.stderr, "10.94.0.0/23") {
		t.Errorf("a third network of a pool of two: %s", r)
	}
	if out := s.must("network", "inspect", "-f", "{{range .IPAM.Config}}{{.Subnet}} {{end}}", "one"); strings.TrimSpace(out) != "10.94.0.0/24 fd94::/64" {
		t.Errorf("the first has %s", out)
	}
	write(`{"default-address-pools": [{"base": "10.94.0.0/23", "size": 22}]}`)
	if r := s.run("network", "create", "three"); r.code == 0 || !strings.Contains(r.stderr, "config.json: default-address-pools: base 10.94.0.0/23 cannot be cut into subnets of size 22") {
		t.Errorf("pools that cannot be: %s", r)
	}
	s.must("network", "rm", "one", "two")
	s.mustBeAs(before)
}
