package samples

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const echoing = `
services:
  echo:
    image: busybox:latest
    command: nc -ll -p 7 -e cat
    init: true
    stop_grace_period: 0s
    ports: ["7007:7"]
    healthcheck: {x-tcp: 7, start_interval: 50ms}
`

// A connection that no rule of the firewall takes goes on while the engine is killed; new ones find an answer at any time;
// nobody else gets the port meanwhile; and who has it is said by name.
func TestPublishedPortSurvivesTheEngine(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.write("compose.yaml", echoing)
	s.must("-p", "one", "up", "-d", "--wait")
	dial := func() net.Conn {
		var c net.Conn
		err := s.host.in(s.host.pid, func() (err error) { c, err = net.DialTimeout("tcp", "[::1]:7007", commandTimeout); return err })
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	said := 0
	answers := func(c net.Conn) {
		t.Helper()
		said++
		_ = c.SetDeadline(time.Now().Add(commandTimeout))
		fmt.Fprintln(c, said)
		if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || line != fmt.Sprintln(said) {
			t.Fatalf("answer %q, %v, want %d", line, err, said)
		}
	}
	first := dial()
	answers(first)
	for range 3 {
		killed := s.engine()
		if err := syscall.Kill(killed, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		answers(first)
		answers(dial())
		err := s.host.in(s.host.pid, func() error {
			l, err := net.Listen("tcp4", "0.0.0.0:7007")
			if err == nil {
				_ = l.Close()
			}
			return err
		})
		if !errors.Is(err, unix.EADDRINUSE) {
			t.Errorf("another program gets the port: %v", err)
		}
		s.must("-p", "one", "ps") // the next engine
		answers(first)
		answers(dial())
	}

	r := s.run("-p", "two", "up", "-d")
	want := `compose\.yaml:8: service "echo": port 7007/tcp of the host is taken by service "echo" of project "one" \(container one-echo-1\)`
	if r.code == 0 || !regexp.MustCompile(want).MatchString(r.stderr) {
		t.Errorf("a port of another project: %s", r)
	}
	s.mustBeEmpty("two")
	if out := s.must("-p", "one", "port", "echo", "7"); out != "0.0.0.0:7007\n" {
		t.Errorf("port: %q", out)
	}
	if out := s.must("-p", "one", "ps", "--format", "{{.Ports}}"); out != "0.0.0.0:7007->7/tcp, [::]:7007->7/tcp\n" {
		t.Errorf("ps: %q", out)
	}
	s.must("-p", "one", "down")
	_ = first.SetDeadline(time.Now().Add(commandTimeout))
	if _, err := io.ReadAll(first); os.IsTimeout(err) {
		t.Error("the connection goes on when the container is gone")
	}
}

// Two projects, each on its own network: they meet nowhere but at published ports.
func TestProjectsAreIsolated(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.write("compose.yaml", `
services:
  web:
    image: busybox:latest
    hostname: ${COMPOSE_PROJECT_NAME}
    command: sh -c 'mkdir /www && hostname > /www/index.html && exec httpd -f -p 80 -h /www'
    init: true
    stop_grace_period: 0s
    ports: ["80", "${PORT}:80"]
    healthcheck: {x-tcp: 80, start_interval: 50ms}
  shut:
    image: busybox:latest
    command: httpd -f -p 80
    init: true
    stop_grace_period: 0s
    x-firewall: input
    ports: ["1${PORT}:80"]
`)
	s.environ = []string{"PORT=8001"}
	s.must("-p", "one", "up", "-d", "--wait")
	s.environ = []string{"PORT=8002"}
	s.must("-p", "two", "up", "-d", "--wait")
	inside := func(project string, script string) string {
		return strings.TrimSpace(s.run("-p", project, "exec", "-T", "web", "sh", "-c", script).stdout)
	}
	address := inside("two", "hostname -i")
	if got := inside("one", "timeout 2 wget -q -O - http://"+address); got != "" {
		t.Errorf("by its address the other project answers %q", got)
	}
	if got := inside("one", "nslookup two-web-1 >/dev/null && echo known"); got != "" {
		t.Error("the other project's names are known")
	}
	gateway := address[:strings.LastIndexByte(address, '.')] + ".1"
	for _, host := range []string{hostAddress, gateway} {
		if got := inside("one", "timeout 30 wget -q -O - http://"+host+":8002"); got != "two" {
			t.Errorf("the port of the other project by %s: %q", host, got)
		}
	}
	ephemeral := s.must("-p", "two", "port", "web", "80")
	if !regexp.MustCompile(`^0\.0\.0\.0:(8002|3[2-9]\d{3}|[45]\d{4}|60\d{3})\n$`).MatchString(ephemeral) {
		t.Errorf("port: %q", ephemeral)
	}

	// What is to obey the host's INPUT chain does.
	s.host.serves(s.host.neighbour, hostAddress+":18001", "") // httpd without a healthcheck may have to begin to listen
	s.host.sh(s.host.pid, "iptables -w -A INPUT -i uplink -p tcp -j DROP")
	if _, err := s.host.getWithin(soon, s.host.neighbour, hostAddress+":18001"); err == nil {
		t.Error("a port that is to obey answers in spite of the INPUT chain")
	}
	if got, err := s.host.get(s.host.neighbour, hostAddress+":8001"); got != "one" {
		t.Errorf("an open port: %q, %v", got, err)
	}
	// And whoever empties the firewall is named.
	s.host.sh(s.host.pid, "iptables -w -F")
	eventually(t, commandTimeout, func() error {
		if out := s.run("-p", "one", "why").stdout; !strings.Contains(out, "firewall: at ") || !strings.Contains(out, "iptables (process ") {
			return errors.New(out)
		}
		return nil
	})
	s.must("-p", "one", "down")
	s.environ = []string{"PORT=8002"}
	s.must("-p", "two", "down")
}

// A server has port 53 of a network that it shares, though the one whose network it is knows nothing of it: the
// resolver goes on beside it, also after the owner was started anew in the namespace where the server went on.
func TestPort53OfASharedNetwork(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.write("compose.yaml", `
x-base: &base {image: 'busybox:latest', init: true, stop_grace_period: 0s}
services:
  app:
    <<: *base
    command: sleep 1000
  dns:
    <<: *base
    network_mode: service:app
    command: nc -ll -p 53 -e echo own
`)
	s.must("-p", "shared", "up", "-d")
	for _, when := range []string{"at first", "after a restart"} {
		for name, script := range map[string]string{
			"the server":   "echo | nc 127.0.0.1 53 | grep own",
			"the resolver": "nslookup app 127.0.0.11 | grep -A1 Name: | grep Address",
		} {
			eventually(t, commandTimeout, func() error {
				if r := s.run("-p", "shared", "exec", "-T", "dns", "sh", "-c", script); r.code != 0 {
					return fmt.Errorf("%s, %s: %s", name, when, r)
				}
				return nil
			})
		}
		s.must("-p", "shared", "restart", "--no-deps", "app")
	}
	s.must("-p", "shared", "down")
}
