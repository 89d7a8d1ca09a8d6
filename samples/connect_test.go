package samples

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"tutti/scheduler/container"
)

// recordOf is what the disk says of a container of the project "project".
func (s *site) recordOf(name string) container.Record {
	s.t.Helper()
	for _, rec := range s.records() {
		if rec.Name == name {
			return rec
		}
	}
	s.t.Fatalf("no record of container %s", name)
	return container.Record{}
}

// inside runs a script with the network of a container's process, and the machine's programs.
func (s *site) inside(pid int, script string) string {
	s.t.Helper()
	out, err := exec.Command("nsenter", "--target", strconv.Itoa(pid), "--net", "--", "sh", "-ec", script).CombinedOutput()
	if err != nil {
		s.t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return string(out)
}

// connectStack has a service with a published port that is to be moved about, one that shares its network, and neighbours.
const connectStack = `
services:
  app:
    image: busybox:latest
    command: sh -c 'mkdir -p /www && echo app > /www/index.html && exec httpd -f -p 80 -h /www'
    init: true
    stop_grace_period: 0s
    networks: [one]
    ports: ["8080:80"]
    extra_hosts: ["myhost=host-gateway"]
  side: {image: "busybox:latest", command: sleep 1000, init: true, stop_grace_period: 0s, network_mode: "service:app"}
  first: {image: "busybox:latest", command: sleep 1000, init: true, stop_grace_period: 0s, networks: [one]}
  second: {image: "busybox:latest", command: sleep 1000, init: true, stop_grace_period: 0s, networks: [two]}
networks:
  one: {}
  two: {enable_ipv6: true, ipam: {config: [{subnet: 10.66.0.0/24}, {subnet: "fd66::/64"}]}}
`

// A running container must come onto a network and leave it with all that belongs to it: addresses, names in both
// directions, routes, published ports and /etc/hosts, its own and that of those who share its network; and be there again
// after the engine was killed and after it was restarted.
func TestConnectAndDisconnect(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.waitUntilIdle()
	before := s.host.snapshot()
	s.write("compose.yaml", connectStack)
	s.must("up", "-d")
	pid := func(service string) int { return s.recordOf("project-" + service + "-1").State.Pid }
	page := func(what string, want string) {
		t.Helper()
		if got, err := s.host.getWithin(patienceFor(want), s.host.neighbour, hostAddress+":8080"); got != want {
			t.Errorf("%s: the published port answers %q, %v; want %q", what, got, err, want)
		}
	}
	resolves := func(what, from, name, want string) {
		t.Helper()
		got := lookUp(t, pid(from), "udp", name+".", dns.TypeA)
		if got = strings.TrimPrefix(strings.TrimPrefix(got, "NXDOMAIN"), "SERVFAIL"); got != want {
			t.Errorf("%s: %s resolves %s to %q, want %q", what, from, name, got, want)
		}
	}
	serves := func() { t.Helper(); s.host.serves(s.host.neighbour, hostAddress+":8080", "app") } // once it listens
	serves()
	own := s.recordOf("project-app-1").State.Endpoints[0].IPv4.Addr().String()

	s.must("network", "connect", "--alias", "friend,pal", "--ip", "10.66.0.9", "--ip6", "fd66::9", "--link-local-ip", "169.254.7.7", "--gw-priority", "5",
		"--link", "project-second-1:other", "--driver-opt", "com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.log_martians=1", "project_two", "project-app-1")
	for _, name := range []string{"friend", "pal", "project-app-1"} {
		resolves("connected", "second", name, "10.66.0.9")
	}
	if got := lookUp(t, pid("second"), "udp", "friend.", dns.TypeAAAA); got != "fd66::9" {
		t.Errorf("the IPv6 address of friend is %q", got)
	}
	resolves("connected", "first", "app", own)
	resolves("connected", "first", "friend", "")
	resolves("connected", "app", "other", s.recordOf("project-second-1").State.Endpoints[0].IPv4.Addr().String())
	got := s.inside(pid("app"), "ip -4 route show default; ip addr show dev eth1; cat /proc/sys/net/ipv4/conf/eth1/log_martians")
	for _, want := range []string{"default via 10.66.0.1 dev eth1", "10.66.0.9/24", "fd66::9/64", "169.254.7.7/16", "\n1\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in the container:\n%s", want, got)
		}
	}
	page("with two networks", "app")
	for _, service := range []string{"app", "side"} {
		if got := s.must("exec", "-T", service, "cat", "/etc/hosts"); !strings.Contains(got, "10.66.0.9\t") || !strings.Contains(got, own+"\t") || !strings.Contains(got, "10.66.0.1\tmyhost") {
			t.Errorf("/etc/hosts of %s:\n%s", service, got)
		}
	}
	var j struct {
		NetworkSettings struct {
			Networks map[string]struct {
				IPAddress, GlobalIPv6Address, Gateway, MacAddress, EndpointID string
				Aliases                                                       []string
				GwPriority                                                    int
				IPAMConfig                                                    struct{ IPv4Address string }
			}
		}
	}
	s.api("/containers/project-app-1/json", &j)
	if n := j.NetworkSettings.Networks["project_two"]; n.IPAddress != "10.66.0.9" || n.GlobalIPv6Address != "fd66::9" || n.Gateway != "10.66.0.1" || n.GwPriority != 5 ||
		strings.Join(n.Aliases, " ") != "friend pal" || n.IPAMConfig.IPv4Address != "10.66.0.9" || n.EndpointID == "" || len(j.NetworkSettings.Networks) != 2 {
		t.Errorf("the container's networks: %+v", j.NetworkSettings.Networks)
	}
	if got := s.must("network", "inspect", "-f", `{{range .Containers}}{{.Name}}={{.IPv4Address}} {{end}}`, "project_two"); !strings.Contains(got, "project-app-1=10.66.0.9/24") {
		t.Errorf("network inspect: %s", got)
	}
	s.refusedChanges()

	if err := syscall.Kill(s.engine(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	resolves("after the engine was killed", "second", "friend", "10.66.0.9")
	page("after the engine was killed", "app")
	s.must("restart", "-t", "0", "app")
	resolves("after a restart", "second", "friend", "10.66.0.9")
	resolves("after a restart", "first", "app", own)
	serves()

	s.must("network", "disconnect", "project_two", "project-app-1")
	resolves("disconnected from two", "second", "friend", "")
	resolves("disconnected from two", "app", "other", "")
	page("disconnected from two", "app")
	s.must("network", "disconnect", "project_one", "project-app-1")
	resolves("on no network", "first", "app", "")
	page("on no network", "")
	if got := s.inside(pid("app"), "ip -o -4 addr; ip route"); strings.Contains(got, "eth") {
		t.Errorf("a container on no network has %s", got)
	}
	s.must("restart", "-t", "0", "app")
	page("restarted on no network", "")
	s.must("network", "connect", "project_two", "project-app-1")
	serves()
	s.must("up", "-d")
	if rec := s.recordOf("project-app-1"); rec.State.Networks != nil || len(rec.State.Endpoints) != 1 || rec.State.Endpoints[0].Network != "project_one" {
		t.Errorf("up has not made the container anew: %+v", rec.State)
	}
	serves()
	s.must("down", "-t", "0")
	s.mustBeAs(before)
}

// refusedChanges asks for what cannot be, which must change nothing.
func (s *site) refusedChanges() {
	s.t.Helper()
	before := s.recordOf("project-app-1").State.Endpoints
	for _, tt := range []struct{ want, args string }{
		{"already exists in network project_two", "connect project_two project-app-1"},
		{"does not belong to any of the subnets", "connect --ip 10.1.2.3 project_two project-first-1"},
		{"is taken", "connect --ip 10.66.0.9 project_two project-first-1"},
		{"is no link-local address", "connect --link-local-ip 10.1.2.3 project_two project-first-1"},
		{"com.example", "connect --driver-opt com.example=1 project_two project-first-1"},
		{"no such container: nobody", "connect --link nobody project_two project-first-1"},
		{"has the network of service:app", "connect project_two project-side-1"},
		{"no such network: nowhere", "connect nowhere project-app-1"},
		{"no such container: nobody", "connect project_one nobody"},
		{"is not connected to network project_two", "disconnect project_two project-first-1"},
		{"no such container: nobody", "disconnect project_one nobody"},
		{"no such container: nobody", "disconnect --force project_one nobody"},
		{"network mode", "connect host project-first-1"},
		{"cannot be removed", "rm none"},
		{"in use by project-app-1, project-second-1", "rm project_two"},
	} {
		if r := s.run(append([]string{"network"}, strings.Fields(tt.args)...)...); r.code != 1 || !strings.Contains(r.stderr, tt.want) {
			s.t.Errorf("want an error with %q: exit code %d, %s", tt.want, r.code, r)
		}
	}
	if after := s.recordOf("project-app-1").State.Endpoints; fmt.Sprint(after) != fmt.Sprint(before) {
		s.t.Errorf("changed: %v, before %v", after, before)
	}
	if rec := s.recordOf("project-first-1"); len(rec.State.Endpoints) != 1 || rec.State.Changing {
		s.t.Errorf("a refused change is left half made: %+v", rec.State)
	}
}

// api asks the engine's socket as docker's clients do.
func (s *site) api(path string, v any) {
	s.t.Helper()
	socket := "/run/tutti-" + s.instance() + "/tutti.sock"
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	resp, err := client.Get("http://engine" + path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(v); err != nil || resp.StatusCode != http.StatusOK {
		s.t.Fatalf("%s: %s, %v", path, resp.Status, err)
	}
}

// An engine that is killed at any moment of a change must leave the container on the old networks or on the new ones, with
// routes, ports, names and records that agree with that.
func TestConnectIsWhole(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.write("compose.yaml", connectStack)
	s.must("up", "-d")
	s.host.serves(s.host.neighbour, hostAddress+":8080", "app")
	pid := s.recordOf("project-app-1").State.Pid
	timed := func(args ...string) time.Duration {
		began := time.Now()
		s.must(append([]string{"network"}, args...)...)
		return time.Since(began)
	}
	connect := []string{"connect", "--gw-priority", "1", "project_two", "project-app-1"}
	disconnect := []string{"disconnect", "project_two", "project-app-1"}
	took := timed(connect...)
	took = (took + timed(disconnect...)) / 2
	outcomes := map[string]int{}
	const rounds = 6
	for i := range rounds {
		connected := s.agrees(pid)
		args := connect
		if connected {
			args = disconnect
		}
		engine := s.engine()
		r := s.start(append([]string{"network"}, args...)...)
		time.Sleep(took * time.Duration(i) / rounds) // a moment within the change, another one each time
		if err := syscall.Kill(engine, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		r.wait()
		outcomes[fmt.Sprint(args[0], " ", s.agrees(pid) != connected)]++
	}
	t.Logf("undisturbed a change takes %v; with a kill: %v", took, outcomes)
	s.must("down", "-t", "0")
}

// agrees says whether the container app is on network two, and finds what does not agree with that.
func (s *site) agrees(pid int) bool {
	s.t.Helper()
	s.must("ps") // an engine is there, and has taken over
	var state container.State
	eventually(s.t, commandTimeout, func() error { // what the last engine left goes in the background
		state = s.recordOf("project-app-1").State
		if links := strings.Count(s.inside(pid, "ip -o link show type veth"), "\n"); links != len(state.Endpoints) {
			return fmt.Errorf("%d links and %d endpoints", links, len(state.Endpoints))
		}
		return nil
	})
	connected := len(state.Endpoints) == 2
	if state.Changing || len(state.Endpoints) == 0 {
		s.t.Errorf("the change is neither made nor undone: %+v", state)
	}
	var address, gateway string
	for _, p := range state.Endpoints {
		if p.Network == "project_two" || !connected {
			address, gateway = p.IPv4.Addr().String(), p.Gateway.String()
		}
	}
	if got := s.inside(pid, "ip route show default"); !strings.Contains(got, "via "+gateway+" ") || strings.Count(got, "default") != 1 {
		s.t.Errorf("connected: %t, but the default route is %s", connected, got)
	}
	if got, err := s.host.get(s.host.neighbour, hostAddress+":8080"); got != "app" {
		s.t.Errorf("connected: %t, and the published port answers %q, %v", connected, got, err)
	}
	want := ""
	if connected {
		want = address
	}
	got := lookUp(s.t, s.recordOf("project-second-1").State.Pid, "udp", "project-app-1.", dns.TypeA)
	if got = strings.TrimPrefix(strings.TrimPrefix(got, "NXDOMAIN"), "SERVFAIL"); got != want {
		s.t.Errorf("connected: %t, but its name resolves to %q, want %q", connected, got, want)
	}
	hosts := s.must("exec", "-T", "side", "cat", "/etc/hosts")
	if strings.Contains(hosts, "10.66.0.") != connected {
		s.t.Errorf("connected: %t, but /etc/hosts says\n%s", connected, hosts)
	}
	return connected
}
