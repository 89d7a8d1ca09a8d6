package samples

import (
	"testing"
)

// With the real ufw, which denies what comes in and what is routed, published ports are open unless they are to obey INPUT,
// and containers get out; through its reload, its end and its new beginning; and its rules are as before afterwards.
func TestUFW(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	ufw := func(args string) { s.host.sh(s.host.pid, "ufw "+args) }
	s.host.sh(s.host.pid, "d=$(mktemp -d) && cp -a /etc/ufw/. $d && mount -t tmpfs tmpfs /etc/ufw && cp -a $d/. /etc/ufw && rm -r $d")
	s.host.serveOnHost("9999")
	ufw("logging off")
	ufw("--force enable")
	s.waitUntilIdle()
	before := s.host.snapshot()
	s.write("compose.yaml", `
services:
  web:
    image: busybox:latest
    command: sh -c 'hostname > /tmp/index.html && exec httpd -f -p 80 -h /tmp'
    hostname: web
    init: true
    stop_grace_period: 0s
    ports: ["8080:80", {target: 80, published: "8081", x-firewall: input}]
`)
	s.must("up", "-d")
	check := func(when, published, governed, program string) {
		t.Helper()
		for port, want := range map[string]string{"8080": published, "8081": governed, "9999": program} {
			if got, err := s.host.getWithin(patienceFor(want), s.host.neighbour, hostAddress+":"+port); got != want {
				t.Errorf("%s port %s answers another machine %q, %v; want %q", when, port, got, err, want)
			}
		}
		s.must("exec", "-T", "web", "ping", "-c1", "-W30", neighbourAddress)
	}
	s.host.serves(s.host.pid, hostAddress+":8080", "web")
	check("with ufw", "web", "", "")
	ufw("allow 8081/tcp")
	ufw("allow 9999/tcp")
	check("with both allowed", "web", "web", "host")
	ufw("reload")
	check("after a reload", "web", "web", "host")
	ufw("delete allow 8081/tcp")
	ufw("delete allow 9999/tcp")
	ufw("--force disable")
	check("without ufw", "web", "web", "host")
	ufw("--force enable")
	check("with ufw again", "web", "", "")
	s.must("down")
	s.mustBeAs(before)
}
