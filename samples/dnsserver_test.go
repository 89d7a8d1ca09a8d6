package samples

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// A container that is a DNS server must have port 53 to itself, and still find the resolver at its usual address, also
// after the engine's death; and others ask it over the network and from outside.
func TestContainerServesDNS(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	compile := exec.Command("go", "build", "-o", s.dir, "./testdata/dnsserver")
	compile.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := compile.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s.write("Dockerfile", "FROM busybox:latest\nCOPY dnsserver /\nEXPOSE 53 53/udp\nCMD [\"/dnsserver\"]\n")
	s.write("compose.yaml", `
services:
  server:
    build: .
    ports: ["5353:53/udp", "5353:53/tcp"]
    stop_grace_period: 0s
    healthcheck: {test: ["CMD", "nslookup", "own.test", "127.0.0.1"], start_interval: 100ms, start_period: 30s}
  other:
    image: busybox:latest
    command: sleep 1000
    init: true
`)
	s.must("up", "-d", "--wait")
	look := func(service, name, server string) {
		t.Helper()
		if r := s.run("exec", "-T", service, "nslookup", name, server); r.code != 0 {
			t.Errorf("%s in %s at %s: %s", name, service, server, r)
		}
	}
	server := strings.TrimSpace(s.must("exec", "-T", "other", "sh", "-c", "nslookup server | sed -n 's/^Address: //p'"))
	all := func() {
		t.Helper()
		look("server", "own.test", "127.0.0.1")
		look("server", "other", "127.0.0.11") // the resolver
		look("server", "other", "127.0.0.1")  // through the server
		look("other", "own.test", server)
		look("other", "other", server)
		if out := s.host.sh(s.host.neighbour, "busybox nslookup own.test "+hostAddress+":5353 || true"); !strings.Contains(out, "192.0.2.77") {
			t.Errorf("from outside: %s", out)
		}
	}
	all()
	if err := syscall.Kill(s.engine(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	all()
}
