package samples

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/miekg/dns"

	"tutti/scheduler/container"
)

// project is a site's further project in a folder of its own.
func (s *site) project(name, compose string) *site {
	s.t.Helper()
	sub := *s
	sub.dir = filepath.Join(filepath.Dir(s.dir), name)
	if err := os.MkdirAll(sub.dir, 0o755); err != nil {
		s.t.Fatal(err)
	}
	sub.write("compose.yaml", compose)
	return &sub
}

// Two projects on one network, which one of them calls its own, both, or neither: they find each other by name, neither's
// `down` disturbs the other, and the network goes with the last of those whose own it is.
func TestSharedNetworks(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.must("network", "create", "--attachable", "--label", "team=lions", "handmade")
	const service = `
  %s:
    image: busybox:latest
    command: sh -c 'mkdir -p /www && hostname > /www/index.html && exec httpd -f -p 80 -h /www'
    hostname: %[1]s
    init: true
    stop_grace_period: 0s
    networks: [ours, outer]
`
	const networks = "networks: {ours: {name: meeting}, outer: {external: true, name: handmade}}\n"
	north := s.project("north", "services:"+fmt.Sprintf(service, "api")+networks)
	south := s.project("south", "services:"+fmt.Sprintf(service, "web")+`
  lone: {image: "busybox:latest", command: sleep 1000, init: true, stop_grace_period: 0s, network_mode: bridge}
`+networks)
	s.host.serve(80)
	north.must("up", "-d")
	south.must("up", "-d")
	answers := func(s *site, from, address, want string) {
		t.Helper()
		eventually(t, commandTimeout, func() error { // once the server listens
			if r := s.run("exec", "-T", from, "wget", "-qO-", "http://"+address+"/"); r.stdout != want+"\n" {
				return fmt.Errorf("%s asks %s: %s", from, address, r)
			}
			return nil
		})
	}
	answers(south, "web", "api", "api")
	answers(north, "api", "south-web-1.meeting", "web")
	if got := s.must("network", "inspect", "--format", "{{.Attachable}} {{.Scope}} {{.Driver}} {{.Labels}} {{len .Containers}}", "handmade"); got != "true local bridge map[team:lions] 2\n" {
		t.Errorf("network inspect: %q", got)
	}
	for filter, want := range map[string]string{
		"name=^meet": "meeting", "label=team": "handmade", "driver=macvlan": "", "dangling=true": "", "dangling=false": "bridge handmade host meeting none", "type=custom": "handmade meeting", "type=builtin": "bridge host none", "scope=swarm": "",
	} {
		if got := strings.Fields(s.must("network", "ls", "--filter", filter, "--format", "{{.Name}}")); strings.Join(got, " ") != want {
			t.Errorf("network ls --filter %s: %q, want %q", filter, got, want)
		}
	}
	if got := south.must("exec", "-T", "lone", "wget", "-qO-", "http://"+neighbourAddress+"/"); got != hostAddress+"\n" {
		t.Errorf("with network_mode: bridge the outside sees %q", got)
	}
	if r := north.run("down", "-t", "0"); r.code != 0 || !strings.Contains(r.stderr, "Network meeting  Resource is still in use") {
		t.Errorf("down of the project that made the network: %s", r)
	}
	if got := south.must("exec", "-T", "web", "wget", "-qO-", "http://web/"); got != "web\n" {
		t.Errorf("the other project afterwards: %q", got)
	}
	if r := s.run("network", "rm", "meeting", "handmade"); r.code != 1 || strings.Count(r.stderr, "in use by south-web-1") != 2 {
		t.Errorf("network rm: %s", r)
	}
	south.must("down", "-t", "0")
	if got := strings.Fields(s.must("network", "ls", "--format", "{{.Name}}")); strings.Join(got, " ") != "handmade host none" {
		t.Errorf("after the last project there are %q", got)
	}
	s.must("network", "rm", "handmade")
}

// A container that shares another's network must be on it again after that was restarted, by a user or by its policy, made
// anew, or lost while there was no engine.
func TestSharedNamespaceLasts(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	const owner = `
services:
  owner:
    image: busybox:latest
    command: sh -c 'mkdir -p /www && echo owner > /www/index.html && exec httpd -f -p 80 -h /www'
    init: true
    restart: always
    stop_grace_period: 0s
    hostname: boss
    labels: {version: "%d"}
  inner: {image: "busybox:latest", command: httpd -f -p 81 -h /etc, init: true, stop_grace_period: 0s, network_mode: "service:owner"}
  server: {image: "busybox:latest", command: httpd -f -p 80 -h /etc, init: true, stop_grace_period: 0s}
`
	s.write("compose.yaml", fmt.Sprintf(owner, 1))
	s.must("up", "-d")
	guest := s.project("guest", `
services:
  guest: {image: "busybox:latest", command: httpd -f -p 82 -h /etc, init: true, stop_grace_period: 0s, network_mode: "container:project-owner-1"}
`)
	guest.must("up", "-d")
	identity := func() string {
		rec := s.recordOf("guest-guest-1")
		return fmt.Sprint(rec.ID, rec.State.Pid)
	}
	guestBefore := identity()
	check := func(when string) {
		t.Helper()
		eventually(t, commandTimeout, func() error {
			for _, port := range []string{"", ":81/hostname", ":82/hostname"} {
				if r := s.run("exec", "-T", "server", "timeout", "10", "wget", "-qO-", "http://owner"+port); r.code != 0 {
					return fmt.Errorf("%s: owner%s: %s", when, port, r)
				}
			}
			if r := guest.run("exec", "-T", "guest", "sh", "-c", "wget -qO- http://server/hostname && wget -qO- http://127.0.0.1/ && hostname && grep boss /etc/hosts"); r.code != 0 || !strings.Contains(r.stdout, "owner\nboss\n") {
				return fmt.Errorf("%s: from the guest: %s", when, r)
			}
			return nil
		})
	}
	kill := func() {
		t.Helper()
		if err := syscall.Kill(s.recordOf("project-owner-1").State.Pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	check("at first")
	s.must("restart", "-t", "0", "owner")
	check("after a restart")
	was := s.recordOf("project-owner-1").State.Pid
	kill()
	eventually(t, commandTimeout, func() error {
		if st := s.recordOf("project-owner-1").State; st.Pid == was || !st.Alive() {
			return fmt.Errorf("the owner is %s", st.Status)
		}
		return nil
	})
	check("after its policy has started it again")
	s.write("compose.yaml", fmt.Sprintf(owner, 2))
	s.must("up", "-d")
	check("made anew")
	if err := syscall.Kill(s.engine(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	kill()
	check("lost while there was no engine")
	if after := identity(); after != guestBefore {
		t.Errorf("the guest was %s and is %s", guestBefore, after)
	}
	guest.must("down", "-t", "0")
}

// Containers must come back with the addresses they had: after a restart, after the engine was killed while they were
// stopped, and after the host went down, while newcomers take others.
func TestAddressesComeBack(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.write("compose.yaml", `
x-sleeper: &sleeper {image: "busybox:latest", command: sleep 1000, init: true, stop_grace_period: 0s, networks: [n]}
services:
  a: {<<: *sleeper, restart: always}
  b: {<<: *sleeper, restart: always}
  c: *sleeper
  late: {<<: *sleeper, profiles: [late]}
networks: {n: {enable_ipv6: true}}
`)
	s.must("up", "-d")
	addresses := func() string {
		var all []string
		for _, name := range []string{"a", "b", "c"} {
			p := s.recordOf("project-" + name + "-1").State.Endpoints[0]
			all = append(all, fmt.Sprint(name, p.IPv4, p.IPv6, p.MAC))
		}
		return strings.Join(all, "\n")
	}
	before := addresses()
	same := func(when string) {
		t.Helper()
		if after := addresses(); after != before {
			t.Errorf("%s the addresses are\n%s\nthey were\n%s", when, after, before)
		}
	}
	s.must("stop", "b", "c")
	if err := syscall.Kill(s.engine(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	s.must("--profile", "late", "up", "-d", "late")
	s.must("start", "c")
	s.must("start", "b")
	same("after the engine was killed")
	s.must("restart", "a", "b", "c")
	same("after a restart")
	s.reboot()
	s.must("ps")
	s.state("a", "running")
	s.state("b", "running")
	s.must("start", "c")
	same("after the host went down")
	s.must("down", "-t", "0")
}

// Each attribute of a service's networks and names must have its effect.
func TestNetworkAttributes(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.host.sh(s.host.neighbour, "ip addr add 192.0.2.53/24 dev peer0")
	s.host.nameserver("192.0.2.53:53", "by the service's own server")
	other := s.project("other", "services:\n  store: {image: \"busybox:latest\", command: sleep 1000, init: true, stop_grace_period: 0s, networks: [shared]}\nnetworks: {shared: {name: shared}}\n")
	other.must("up", "-d")
	s.write("compose.yaml", `
services:
  app:
    image: busybox:latest
    command: sleep 1000
    init: true
    stop_grace_period: 0s
    hostname: apphost
    domainname: example.com
    mac_address: "02:42:ac:11:00:77"
    links: ["db:database"]
    external_links: ["other-store-1:cellar"]
    extra_hosts: ["myhost=host-gateway", "fixed=203.0.113.7", "six=2001:db8::7"]
    dns: [192.0.2.53]
    dns_search: [corp.test, test]
    dns_opt: ["ndots:2", "timeout:3"]
    networks:
      beta:
        aliases: [alias-of-app]
        ipv4_address: 10.71.0.10
        ipv6_address: fd71::10
        priority: 10
      alpha:
        mac_address: "02:42:ac:11:00:88"
        gw_priority: 5
        interface_name: uplink0
        link_local_ips: [169.254.3.3, "fe80::33"]
        driver_opts: {com.docker.network.endpoint.sysctls: "net.ipv4.conf.IFNAME.log_martians=1,net.ipv6.conf.IFNAME.hop_limit=44"}
      shared:
  db: {image: "busybox:latest", command: sleep 1000, init: true, stop_grace_period: 0s, networks: [beta]}
  both: {image: "busybox:latest", command: sleep 1000, init: true, stop_grace_period: 0s, networks: [beta, alpha], hostname: full.name.test}
networks:
  alpha: {ipam: {config: [{subnet: 10.72.0.0/24}]}}
  beta: {enable_ipv6: true, ipam: {config: [{subnet: 10.71.0.0/24}, {subnet: "fd71::/64"}]}}
  shared: {external: true}
`)
	s.must("up", "-d")
	s.must("up", "-d", "--force-recreate", "app") // with the addresses that the container had which it replaces
	rec := s.recordOf("project-app-1")
	got := s.inside(rec.State.Pid, `ip addr; ip -4 route show default; ip -6 route show default
cat /proc/sys/net/ipv4/conf/uplink0/log_martians /proc/sys/net/ipv6/conf/uplink0/hop_limit`)
	if strings.Count(got, "02:42:ac:11:00:77") != 1 {
		t.Errorf("not one interface has the service's hardware address:\n%s", got)
	}
	if got := s.inside(rec.State.Pid, "ip -6 addr show dev eth1"); got != "" {
		t.Errorf("an interface of a network without IPv6 has\n%s", got)
	}
	for _, want := range []string{
		"10.71.0.10/24", "fd71::10/64", "169.254.3.3/16", "fe80::33/64", "uplink0@", "eth0@", "02:42:ac:11:00:77", "02:42:ac:11:00:88",
		"default via 10.72.0.1 dev uplink0", "default via fd71::1 dev eth0", "\n1\n44\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in the container:\n%s", want, got)
		}
	}
	db, store, both := s.recordOf("project-db-1"), s.recordOf("other-store-1"), s.recordOf("project-both-1")
	if got := s.inside(both.State.Pid, "ip -4 route show default; cat /proc/sys/net/ipv6/conf/default/disable_ipv6"); !strings.Contains(got, "via 10.71.0.1") || !strings.Contains(got, "\n1\n") {
		t.Errorf("of two networks that lead out not the one with both families is the way: %s", got)
	}
	for _, q := range []struct {
		pid        int
		name, want string
		qtype      uint16
	}{
		{db.State.Pid, "alias-of-app.", "10.71.0.10", dns.TypeA},
		{db.State.Pid, "alias-of-app.", "fd71::10", dns.TypeAAAA},
		{db.State.Pid, "app.project_beta.", "10.71.0.10", dns.TypeA},
		{both.State.Pid, "app.", "10.71.0.10", dns.TypeA},
		{rec.State.Pid, "both.", address4(both, "project_alpha"), dns.TypeA}, // alpha has the higher gw_priority
		{rec.State.Pid, "database.", db.State.Endpoints[0].IPv4.Addr().String(), dns.TypeA},
		{rec.State.Pid, "cellar.", store.State.Endpoints[0].IPv4.Addr().String(), dns.TypeA},
		{rec.State.Pid, "somewhere.test.", "by the service's own server", dns.TypeTXT},
	} {
		if got := lookUp(t, q.pid, "udp", q.name, q.qtype); got != q.want {
			t.Errorf("%s is %q, want %q", q.name, got, q.want)
		}
	}
	for _, name := range []string{"database.", "cellar."} { // nobody else's
		if got := lookUp(t, db.State.Pid, "udp", name, dns.TypeA); strings.Contains(got, "10.") || strings.Contains(got, "172.") {
			t.Errorf("db resolves %s to %s", name, got)
		}
	}
	out := s.must("exec", "-T", "app", "sh", "-c", "hostname; hostname -f; cat /etc/resolv.conf /etc/hosts")
	for _, want := range []string{
		"apphost\napphost.example.com\n", "nameserver 127.0.0.11\n", "search corp.test test\n", "options ndots:2 timeout:3\n",
		"10.72.0.1\tmyhost\n", "203.0.113.7\tfixed\n", "2001:db8::7\tsix\n", "10.71.0.10\tapphost.example.com apphost\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if out := s.must("exec", "-T", "both", "cat", "/etc/hosts"); !strings.Contains(out, "\tfull.name.test full\n") {
		t.Errorf("/etc/hosts with a whole name: %s", out)
	}
	for _, bad := range []struct{ what, want string }{
		{"mac_address: \"02:42:ac:11:00:88\"\n    mac_address: \"02:42:ac:11:00:77\"", "give it the same value or remove it"},
		{"link_local_ips: [10.0.0.1]", "10.0.0.1 is no link-local address"},
		{"driver_opts: {com.example.x: y}", "com.example.x"},
		{"interface_name: far-too-long-a-name", "no name for an interface"},
		{"mac_address: nonsense", "mac_address"},
	} {
		site := s.project("bad", "services:\n  app:\n    image: busybox:latest\n    command: sleep 1000\n    networks:\n      default:\n        "+bad.what+"\n")
		if r := site.run("up", "-d"); r.code == 0 || !strings.Contains(r.stderr, bad.want) || !strings.Contains(r.stderr, `service "app"`) || !strings.Contains(r.stderr, "compose.yaml:") {
			t.Errorf("%s: %s", bad.what, r)
		}
		site.mustBeEmpty("bad")
	}
	s.must("down", "-t", "0")
}

// address4 is a container's IPv4 address on a network.
func address4(r container.Record, network string) string {
	for _, p := range r.State.Endpoints {
		if p.Network == network {
			return p.IPv4.Addr().String()
		}
	}
	return ""
}
