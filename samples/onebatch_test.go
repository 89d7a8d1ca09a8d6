package samples

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// countRestores makes the site's engine run iptables-restore and ip6tables-restore by way of programs that count. The
// returned function tells how often each has run since it was asked last.
func (s *site) countRestores() func() (four, six int) {
	s.t.Helper()
	dir := s.t.TempDir()
	log := filepath.Join(dir, "log")
	for _, name := range []string{"iptables-restore", "ip6tables-restore"} {
		program, err := exec.LookPath(name)
		if err != nil {
			s.t.Fatal(err)
		}
		script := fmt.Sprintf("#!/bin/sh\necho %s >> %s\nexec %s \"$@\"\n", name, log, program)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil {
			s.t.Fatal(err)
		}
	}
	s.environ = append(s.environ, "PATH="+dir+":"+os.Getenv("PATH"))
	var seen4, seen6 int
	return func() (four, six int) {
		s.t.Helper()
		text, err := os.ReadFile(log)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			s.t.Fatal(err)
		}
		lines := strings.Fields(string(text))
		for _, l := range lines {
			if l == "iptables-restore" {
				four++
			} else {
				six++
			}
		}
		four, six, seen4, seen6 = four-seen4, six-seen6, four, six
		return four, six
	}
}

// Forty services with eighty ports of all kinds, of which one starts when another is healthy: the firewall is changed once
// for each family when they come, once when they go, and not at all when containers are started anew or replaced.
func TestOneFirewallChangePerPlan(t *testing.T) {
	t.Parallel()
	const services = 40
	s := newSite(t, newMachine(t))
	restores := s.countRestores()
	s.load("busybox")
	s.waitUntilIdle()
	before := s.host.snapshot()
	changed := func(what string, want int) {
		t.Helper()
		if four, six := restores(); four != want || six != want {
			t.Errorf("%s: iptables-restore ran %d times, ip6tables-restore %d times, want %d", what, four, six, want)
		}
	}
	var file strings.Builder
	file.WriteString(`
x-base: &base {image: busybox, command: httpd -f -h /etc, init: true, stop_grace_period: 0s}
networks:
  front: {enable_ipv6: true, ipam: {config: [{subnet: 10.11.0.0/24}]}}
  back: {}
services:
  db: {<<: *base, networks: [back], healthcheck: {test: test -e /tmp/ready, interval: 50ms, retries: 10000}, ports: ["5432:80", "5432:80/udp"]}
  web: {<<: *base, networks: [front, back], depends_on: {db: {condition: service_healthy}}, ports: ["8080:80", "127.0.0.1:8081:80"]}
  fixed: {<<: *base, networks: {front: {ipv4_address: 10.11.0.7}}, ports: ["8082:80", "[::1]:8083:80"], restart: always, command: sh -c 'httpd -h /etc; exec sleep 100000'}
`)
	for i := 3; i < services; i++ {
		network := []string{"front", "back"}[i%2]
		fmt.Fprintf(&file, "  s%d: {<<: *base, networks: [%s], ports: [\"80\", \"%d:81\"]}\n", i, network, 9000+i)
	}
	s.write("compose.yaml", file.String())

	up := s.start("up", "-d")
	s.state("db", "running starting")
	refused := func(what, address string) {
		t.Helper()
		for name, pid := range map[string]int{"the host": s.host.pid, "a neighbour": s.host.neighbour} {
			if name == "a neighbour" && strings.Contains(address, "[") {
				continue
			}
			err := s.host.in(pid, func() error {
				c, err := net.DialTimeout("tcp", address, 10*time.Second)
				if err == nil {
					_ = c.Close()
				}
				return err
			})
			if !errors.Is(err, unix.ECONNREFUSED) {
				t.Errorf("%s, from %s: got %v, want that it is refused", what, name, err)
			}
		}
	}
	refused("a service that waits for another", hostAddress+":8080")
	becomesReady := func(not string) {
		t.Helper()
		eventually(t, commandTimeout, func() error {
			if r := s.run("exec", "-T", "db", "sh", "-c", "hostname && touch /tmp/ready"); r.code != 0 || r.stdout == not {
				return fmt.Errorf("it is not the container that is waited for: %s", r)
			}
			return nil
		})
	}
	becomesReady("")
	if r := up.wait(); r.code != 0 {
		t.Fatal(r)
	}
	changed("up", 1)
	for _, port := range []string{"8080", "8082"} {
		s.host.serves(s.host.neighbour, hostAddress+":"+port+"/hostname", "")
	}
	places := func() string {
		var lines []string
		for _, r := range s.records() {
			name := r.Name
			for _, p := range r.State.Endpoints {
				lines = append(lines, fmt.Sprintln(name, p.Network, p.IPv4, p.IPv6, p.MAC, p.Interface))
			}
			for _, b := range r.State.Bindings {
				lines = append(lines, fmt.Sprintln(name, b))
			}
		}
		slices.Sort(lines)
		return strings.Join(lines, "")
	}
	there, old := places(), s.must("exec", "-T", "db", "hostname")
	s.must("up", "-d")
	changed("up again", 0)

	s.killCommand("sleep 100000")
	eventually(t, commandTimeout, func() error {
		if n := s.restarts("project-fixed-1"); n != 1 {
			return fmt.Errorf("it was restarted %d times", n)
		}
		return nil
	})
	s.state("fixed", "running")
	changed("a restart by policy", 0)
	s.must("restart", "fixed", "s3", "s4")
	changed("a restart by hand", 0)
	up = s.start("up", "-d", "--force-recreate")
	becomesReady(old)
	if r := up.wait(); r.code != 0 {
		t.Fatal(r)
	}
	changed("replacement of all", 0)
	if now := places(); now != there {
		t.Errorf("containers have other addresses and ports than those they replace:\n%s", difference(there, now))
	}
	s.host.serves(s.host.neighbour, hostAddress+":8080/hostname", "")
	s.must("stop", "s3", "s4", "s5")
	eventually(t, commandTimeout, func() error { // in the background
		if strings.Contains(s.host.sh(s.host.pid, "iptables-save; ip6tables-save"), "--dport 9003 ") {
			return errors.New("the rules of a stopped service are there")
		}
		return nil
	})
	changed("a stop of three", 1)
	refused("a stopped service", hostAddress+":9003")
	s.must("start", "s3", "s4", "s5")
	changed("their start", 1)
	s.must("down")
	s.waitUntilIdle()
	changed("down", 1)
	s.mustBeAs(before)
}

// A firewall that cannot be changed: `up` says so and leaves no network behind, and goes on when it can be changed again.
func TestFirewallThatCannotBeChanged(t *testing.T) {
	t.Parallel()
	s := newSite(t, newMachine(t))
	dir := t.TempDir()
	broken := filepath.Join(dir, "broken")
	program, err := exec.LookPath("iptables-restore")
	if err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf("#!/bin/sh\n[ ! -e %s ] || { echo no rules today >&2; exit 1; }\nexec %s \"$@\"\n", broken, program)
	if err := os.WriteFile(filepath.Join(dir, "iptables-restore"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	s.environ = append(s.environ, "PATH="+dir+":"+os.Getenv("PATH"))
	s.load("busybox")
	s.write("compose.yaml", "name: walled\nservices:\n  web: {image: busybox, command: sleep 1000, init: true, stop_grace_period: 0s, ports: ['8080:80']}\n")
	if err := os.WriteFile(broken, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if r := s.run("up", "-d"); r.code == 0 || !strings.Contains(r.stderr, "no rules today") || strings.Contains(r.stderr, "in use by") {
		t.Errorf("with a firewall that cannot be changed: code %d: %s", r.code, r)
	}
	if left := s.must("network", "ls", "--quiet", "--filter", "name=walled"); left != "" {
		t.Errorf("a network is left behind: %s", left)
	}
	if err := os.Remove(broken); err != nil {
		t.Fatal(err)
	}
	s.must("up", "-d")
	s.must("down")
}
