package samples

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
)

// reached waits until a published port leads the neighbour to a web server.
func (s *site) reached(what string, port int) {
	s.t.Helper()
	eventually(s.t, commandTimeout, func() error {
		if _, err := s.host.get(s.host.neighbour, fmt.Sprintf("%s:%d/hostname", hostAddress, port)); err != nil {
			return fmt.Errorf("%s: port %d: %w", what, port, err)
		}
		return nil
	})
}

// Plans that are in the way of themselves: ports that pass from container to container, replacements with other ports or
// networks, networks that are made anew, starts that fail. Every second container takes its time to end, so that they all end
// at different times; the firewall is changed once for each family all the same, and twice where docs/ports.md says so.
func TestFewFirewallChanges(t *testing.T) {
	t.Parallel()
	const n = 4
	s := newSite(t, newMachine(t))
	restores := s.countRestores()
	s.load("busybox")
	s.waitUntilIdle()
	before := s.host.snapshot()
	project := func(name, networks string, service func(i int) string) {
		t.Helper()
		var file strings.Builder
		file.WriteString("x-base: &base {image: busybox, command: httpd -f -h /etc, init: true, stop_signal: SIGWINCH}\n")
		file.WriteString("networks: {default: {enable_ipv6: true}" + networks + "}\nservices:\n")
		for i := range n {
			fmt.Fprintf(&file, "  %s%d: {<<: *base, stop_grace_period: %dms, %s}\n", name, i, (i+1)%2*(300+150*i), service(i))
		}
		s.write("compose.yaml", file.String())
	}
	published := func(ip string, first int) func(int) string {
		return func(i int) string { return fmt.Sprintf(`ports: ["%s%d:80"]`, ip, first+i) }
	}
	changed := func(what string, want int) {
		t.Helper()
		if four, six := restores(); four != want || six != want {
			t.Errorf("%s: iptables-restore ran %d times, ip6tables-restore %d times, want %d", what, four, six, want)
		}
	}
	up := func(what string, want, port int, args ...string) {
		t.Helper()
		s.must(append([]string{"up", "-d"}, args...)...)
		changed(what, want)
		s.reached(what, port)
	}
	project("s", "", published("", 8000))
	up("the first", 1, 8000)
	project("s", "", published("", 8100))
	up("other ports", 1, 8100)
	project("s", "", published(hostAddress+":", 8100)) // in whose way the sockets of the others are
	up("other addresses of the host", 1, 8101)
	project("s", "", func(i int) string { return published("", 8100)((i + 1) % n) }) // each takes the port of the next one
	up("ports that pass on", 1, 8102)
	project("t", "", published("", 8100)) // the same by other names
	up("ports that pass to other services", 1, 8103, "--remove-orphans")

	const two, changedTwo = ", a: {enable_ipv6: true}, b: {enable_ipv6: true}", ", a: {enable_ipv6: true, labels: {x: y}}, b: {enable_ipv6: true, ipam: {config: [{subnet: 10.55.0.0/24}]}}"
	oneOf := func(i int) string { return published("", 8100)(i) + ", networks: [" + []string{"a", "b"}[i/2] + "]" }
	project("t", two, oneOf)
	up("other networks", 1, 8100)
	project("t", changedTwo, oneOf)
	up("networks made anew", 2, 8101)

	project("t", changedTwo, func(i int) string {
		if i > 0 {
			return published("", 8200)(i) + ", networks: [a], command: /missing"
		}
		return oneOf(i)
	})
	if r := s.run("up", "-d"); r.code == 0 || strings.Count(r.stderr, "service \"t") != n-1 {
		t.Errorf("a program that is missing was started, or not all are named: %s", r)
	}
	eventually(t, commandTimeout, func() error { // in the background
		if strings.Contains(s.host.sh(s.host.pid, "iptables-save; ip6tables-save"), "--dport 8203 ") {
			return errors.New("the rules of a service that did not start are there")
		}
		return nil
	})
	changed("failed starts", 2)
	s.reached("failed starts", 8100)
	s.must("down", "--timeout", "0")
	s.waitUntilIdle()
	changed("down", 1)
	s.mustBeAs(before)
}

// A replacement that is interrupted while the old container does not end: that has its port and network as before, and what
// was reserved for the one in its place is free.
func TestInterruptedSuccession(t *testing.T) {
	t.Parallel()
	s := newSite(t, newMachine(t))
	s.load("busybox")
	project := func(first int, networks string) {
		t.Helper()
		s.write("compose.yaml", fmt.Sprintf(`
x-base: &base {image: busybox, command: httpd -f -h /etc, init: true, stop_signal: SIGWINCH}
networks: {back: {}}
services:
  slow: {<<: *base, stop_grace_period: 1h, ports: ["%d:80"], networks: [%s]}
  quick: {<<: *base, stop_grace_period: 0s, ports: ["%d:80"], networks: [%[2]s]}
`, first, networks, first+1))
	}
	rules := func() string { return s.host.sh(s.host.pid, "iptables-save | grep -e -j.DNAT | sort") }
	project(8000, "default")
	s.must("up", "-d")
	had := rules()
	project(8100, "default, back")
	up := s.start("up", "-d")
	s.reached("the quick one", 8101)
	if now := rules(); strings.Contains(now, "--dport 8000 ") || !strings.Contains(now, "--dport 8100 ") {
		t.Errorf("while one is on its way out, the rules are\n%s", now)
	}
	up.signal(syscall.SIGINT)
	up.wait()
	s.reached("the one that did not end", 8000)
	eventually(t, commandTimeout, func() error {
		if now := rules(); strings.Contains(now, "--dport 8100 ") || strings.Count(now, "\n") != strings.Count(had, "\n") {
			return fmt.Errorf("the rules are\n%s\nwere\n%s", now, had)
		}
		return nil
	})
	if out := s.must("port", "slow", "80"); !strings.Contains(out, ":8000\n") {
		t.Errorf("its port is said to be %q", out)
	}
	s.must("down", "--timeout", "0")
}
