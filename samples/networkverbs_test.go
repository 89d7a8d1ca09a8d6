package samples

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// A network made by hand must carry the containers of projects that name it external, live longer than they do, and go
// with prune, which leaves alone what a container has.
func TestNetworkCreateAndPrune(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.waitUntilIdle()
	before := s.host.snapshot()
	id := strings.TrimSpace(s.must("network", "create", "--subnet", "10.99.0.0/24", "--gateway", "10.99.0.9", "--ip-range", "10.99.0.64/26",
		"--aux-address", "router=10.99.0.65", "--label", "team=lions", "shared"))
	var inspected []struct {
		ID     string `json:"Id"`
		Labels map[string]string
		IPAM   struct {
			Config []struct{ Subnet, Gateway string }
		}
	}
	if err := json.Unmarshal([]byte(s.must("network", "inspect", "shared")), &inspected); err != nil {
		t.Fatal(err)
	}
	if n := inspected[0]; n.ID != id || n.Labels["team"] != "lions" || n.IPAM.Config[0].Subnet != "10.99.0.0/24" || n.IPAM.Config[0].Gateway != "10.99.0.9" {
		t.Errorf("network inspect: %+v", n)
	}
	for _, bad := range [][2]string{
		{"scope", "--scope=global other"},
		{"swarm is not active", "--scope=swarm other"},
		{"there is no swarm", "--ingress other"},
		{"already exists", "shared"},
		{"predefined", "host"},
		{"no name", "-x/y"},
		{"10.99.0.0/24", "--subnet=10.99.0.128/25 overlapping"},
		{"lies in no --subnet", "--subnet=10.98.0.0/24 --gateway=10.97.0.1 other"},
		{"driver", "--driver=cloud other"},
	} {
		args := strings.Fields(bad[1])
		if args[0] == "-x/y" {
			args = []string{"--", "-x/y"}
		}
		if r := s.run(append([]string{"network", "create"}, args...)...); r.code != 1 || !strings.Contains(r.stderr, bad[0]) {
			t.Errorf("want an error with %q: %s", bad[0], r)
		}
	}
	s.write("compose.yaml", `
services:
  a: {image: "busybox:latest", command: sleep 1000, init: true, networks: [shared]}
networks:
  shared: {external: true}
`)
	s.must("up", "-d")
	if out := s.must("exec", "-T", "a", "ip", "-4", "addr", "show", "eth0"); !strings.Contains(out, "10.99.0.64/24") {
		t.Errorf("the container's address is not the first free one of the range: %s", out)
	}
	if out := s.must("network", "prune", "--force"); strings.Contains(out, "shared") {
		t.Errorf("prune removes a network that is used: %s", out)
	}
	s.must("down", "-t", "0")
	if out := s.must("network", "ls", "-q", "--no-trunc"); !strings.Contains(out, id) {
		t.Errorf("down has removed an external network: %s", out)
	}
	if out := s.must("network", "prune", "--force", "--filter", "label=team=tigers"); strings.Contains(out, "shared") {
		t.Errorf("prune with another label: %s", out)
	}
	if out := s.must("network", "prune", "--force", "--filter", "label=team=lions"); !strings.Contains(out, "shared") {
		t.Errorf("prune: %s", out)
	}
	s.configurations()
	s.mustBeAs(before)
}

// configurations makes networks from one that is only a configuration, which connects nobody itself, stays as long as a
// network depends on it, and is not pruned. What has no effect is said by name.
func (s *site) configurations() {
	s.t.Helper()
	s.must("network", "create", "--config-only", "--subnet", "10.97.0.0/24", "--label", "team=bears", "-o", "com.example=1", "plan10")
	r := s.run("network", "create", "--config-from", "plan10", "--internal", "--attachable", "from10")
	if r.code != 0 || !strings.Contains(r.stderr, "from10: the option com.example has no effect: the driver bridge does not know it") {
		s.t.Errorf("a network from a configuration: %s", r)
	}
	s.must("network", "create", "--config-only", "plan9")
	s.inspected("{{.ConfigOnly}} {{.Driver}} {{(index .IPAM.Config 0).Subnet}} {{.Labels}} {{.Options}}", "plan10", "true null 10.97.0.0/24 map[team:bears] map[com.example:1]")
	s.inspected("{{.ConfigFrom.Network}} {{.ConfigOnly}} {{.Driver}} {{(index .IPAM.Config 0).Gateway}} {{.Internal}} {{.Attachable}} {{.Labels}} {{.Status.IPAM.Subnets}}", "from10",
		"plan10 false bridge 10.97.0.1 true true map[team:bears] map[10.97.0.0/24:{3 253}]")
	s.inspected("{{.Driver}} {{.Labels}} {{.Options}} {{.IPAM.Config}} {{len .Containers}}", "host", "host map[] map[] [] 0")
	if got := s.must("network", "ls", "--format", "{{.Name}}"); got != "from10\nhost\nnone\nplan9\nplan10\n" {
		s.t.Errorf("network ls: %q", got)
	}
	for _, bad := range [][2]string{
		{"is in use by network from10", "rm plan10"},
		{"already exists", "create plan10"},
		{"no such configuration network: nowhere", "create --config-from nowhere other"},
		{"no such configuration network: from10", "create --config-from from10 other"},
		{"driver options are not supported", "create --config-from plan10 -o a=b other"},
		{"user-specified configurations are not supported", "create --config-from plan10 --ipv6 other"},
		{"cannot depend on another", "create --config-from plan10 --config-only other"},
		{"are said of the networks", "create --config-only --internal other"},
		{"overlapping", "create --config-from plan10 overlapping"},
		{"is only a configuration", "connect plan10 nobody"},
	} {
		if r := s.run(append([]string{"network"}, strings.Fields(bad[1])...)...); r.code != 1 || !strings.Contains(r.stderr, bad[0]) {
			s.t.Errorf("want an error with %q: %s", bad[0], r)
		}
	}
	const project = "services:\n  a: {image: \"busybox:latest\", command: httpd -f, init: true, stop_grace_period: 0s, networks: [n]}\n" +
		"  b: {image: \"busybox:latest\", command: sleep 1000, init: true, stop_grace_period: 0s, networks: [n]}\nnetworks:\n  n: {external: true, name: %s}\n"
	s.write("compose.yaml", fmt.Sprintf(project, "plan10"))
	if r := s.run("up", "-d"); r.code == 0 || !strings.Contains(r.stderr, "compose.yaml:5: ") || !strings.Contains(r.stderr, "plan10 is only a configuration") {
		s.t.Errorf("up on a configuration: %s", r)
	}
	s.write("compose.yaml", fmt.Sprintf(project, "from10"))
	s.must("up", "-d")
	eventually(s.t, commandTimeout, func() error {
		if r := s.run("exec", "-T", "b", "wget", "-qO-", "http://10.97.0.2/nothing"); !strings.Contains(r.stderr, "404") {
			return fmt.Errorf("b asks a: %s", r)
		}
		return nil
	})
	s.must("down")
	if got := s.must("network", "prune", "--force"); !strings.Contains(got, "from10") || strings.Contains(got, "plan") {
		s.t.Errorf("prune: %s", got)
	}
	s.must("network", "rm", "plan10", "plan9")
}

// inspected compares what network inspect says of a network.
func (s *site) inspected(format, network, want string) {
	s.t.Helper()
	if got := strings.TrimSpace(s.must("network", "inspect", "--format", format, network)); got != want {
		s.t.Errorf("network inspect %s: %q, want %q", network, got, want)
	}
}
