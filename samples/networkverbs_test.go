package samples

import (
	"encoding/json"
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
	s.waitUntilIdle()
	if after := s.host.snapshot(); after != before {
		t.Errorf("the host is not as before:\n%s", difference(before, after))
	}
}
