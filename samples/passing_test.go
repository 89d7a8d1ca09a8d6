package samples

import (
	"fmt"
	"strings"
	"testing"
)

// What only one container can have passes to another of the plan, whose old one takes its time to end: addresses of both
// families, hardware addresses and names, to a service that had another or none, to one that is new, and in exchange.
func TestAddressesAndNamesPassOn(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	const addresses, slow, quick = `ipv4_address: 10.77.0.%d, ipv6_address: "fd00:77::%[1]d", mac_address: "02:42:0a:4d:00:%[1]d"`, 700, 0
	service := func(name string, grace int, more string) string {
		return fmt.Sprintf("  %s: {image: busybox, command: httpd -f -h /etc, init: true, stop_signal: SIGWINCH, stop_grace_period: %dms%s}\n", name, grace, more)
	}
	at := func(number int) string { return fmt.Sprintf(", networks: {default: {"+addresses+"}}", number) }
	named := func(number int) string { return fmt.Sprintf(", container_name: passing-%d", number) }
	up := func(services ...string) {
		t.Helper()
		s.write("compose.yaml", "name: passing\nnetworks: {default: {enable_ipv6: true, ipam: {config: [{subnet: 10.77.0.0/24}, {subnet: 'fd00:77::/64'}]}}}\nservices:\n"+strings.Join(services, ""))
		s.must("up", "-d", "--remove-orphans")
	}
	has := func(service string, number int) {
		t.Helper()
		got := s.must("container", "inspect", "--format", "{{with .NetworkSettings.Networks.passing_default}}ipv4_address: {{.IPAddress}}, "+
			`ipv6_address: "{{.GlobalIPv6Address}}", mac_address: "{{.MacAddress}}"{{end}}`, strings.TrimSpace(s.must("ps", "-q", service)))
		if want := fmt.Sprintf(addresses, number); strings.TrimSpace(got) != want {
			t.Errorf("%s has %s want %s", service, got, want)
		}
	}
	called := func(service string, number int) {
		t.Helper()
		if got, want := strings.TrimSpace(s.must("ps", "--format", "{{.Name}}", service)), fmt.Sprint("passing-", number); got != want {
			t.Errorf("%s is called %s, want %s", service, got, want)
		}
	}
	for _, first := range []int{slow, quick} {
		second := slow + quick - first
		up(service("a", first, at(10)), service("b", second, ""), service("c", first, named(20)), service("d", second, ""))
		up(service("a", first, ""), service("b", second, at(10)), service("c", first, ""), service("d", second, named(20)))
		has("b", 10)
		called("d", 20)
		up(service("a", first, at(11)), service("b", second, at(10)), service("c", first, named(21)), service("d", second, named(20)))
		up(service("a", first, at(10)), service("b", second, at(11)), service("c", first, named(20)), service("d", second, named(21)))
		has("a", 10)
		has("b", 11)
		called("c", 20)
		called("d", 21)
		up(service("e", quick, at(10)), service("f", quick, at(11)), service("g", quick, named(20)), service("h", quick, named(21)))
		has("e", 10)
		has("f", 11)
		called("g", 20)
		called("h", 21)
		s.must("down", "--timeout", "0")
	}
}
