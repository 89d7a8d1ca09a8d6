package samples

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"tutti/scheduler/api"
)

const checkProject = `
name: check
x-server: &server
  image: busybox:latest
  init: true
  stop_grace_period: 0s
services:
  web:
    <<: *server
    command: httpd -f -p 80
    networks: [front]
    expose: ["80"]
  local:
    <<: *server
    command: httpd -f -p 127.0.0.1:80
    networks: [front]
    expose: ["80"]
  sidecar:
    <<: *server
    command: httpd -f -p 8000
    network_mode: service:web
  api:
    <<: *server
    command: httpd -f -p 80
    networks: [front, back]
    scale: 2
  db:
    <<: *server
    command: sh -c 'httpd -p 0.0.0.0:80 && exec /udpecho'
    volumes: ["./udpecho:/udpecho"]
    networks: [back]
    expose: ["7/udp", "80"]
  metal:
    <<: *server
    command: httpd -f -p 7070
    network_mode: host
    expose: ["7070"]
  alone:
    <<: *server
    command: sleep 1000
    network_mode: none
  job:
    <<: *server
    command: "true"
    networks: [front]
networks:
  front:
  back:
    internal: true
`

// The table of everybody to everybody, and for every reason why somebody is not reached that reason: found by packets, and
// with real firewalls in the way.
func TestNetworkCheck(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.host.serve(80)
	s.write("compose.yaml", checkProject)
	compile := exec.Command("go", "build", "-o", s.dir, "./testdata/udpecho")
	compile.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := compile.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s.must("up", "-d")
	s.state("job", "exited")
	listening := func(service string) func() error {
		return func() error {
			if r := s.check("--timeout", "10s", service, service); r.Result != api.ReachYes {
				return fmt.Errorf("%s: %+v", service, r)
			}
			return nil
		}
	}
	for _, service := range []string{"web", "sidecar", "api", "db", "metal", "local"} {
		eventually(t, commandTimeout, listening(service))
	}
	t.Run("table", func(t *testing.T) { checkTable(s.in(t)) })
	t.Run("reasons", func(t *testing.T) { checkReasons(s.in(t)) })
	s.must("down")
}

func checkTable(s *site) {
	got := s.must("network", "check", "--timeout", "10s")
	want := `FROM \ TO  alone  api  db   job  local   metal  sidecar  web  host  outside
alone      yes    no   no   no   no      no     no       no   no    no
api        no     yes  yes  no   closed  yes    yes      yes  yes   yes
db         no     yes  yes  no   no      yes    no       no   yes   no
job        no     no   no   no   no      no     no       no   no    no
local      no     yes  no   no   yes     yes    yes      yes  yes   yes
metal      no     yes  yes  no   closed  yes    yes      yes  yes   yes
sidecar    no     yes  no   no   closed  yes    yes      yes  yes   yes
web        no     yes  no   no   closed  yes    yes      yes  yes   yes
`
	table, explained, _ := strings.Cut(got, "\n\n")
	if table+"\n" != want {
		s.t.Errorf("got\n%s", got)
	}
	if !strings.Contains(explained, "web → local: closed, check-local-1 listens on 127.0.0.1:80 only") || strings.Contains(explained, "web → db") {
		s.t.Errorf("explained:\n%s", explained)
	}
}

func checkReasons(s *site) {
	s.host.sh(s.host.pid, "iptables -w -I INPUT -p tcp --dport 7777 -j DROP; iptables -w -I FORWARD -d "+neighbourAddress+" -p tcp --dport 81 -j DROP")
	s.inNetworkOf("db", "iptables -w -A INPUT -p tcp --dport 81 -j DROP; iptables -w -A INPUT -p tcp --dport 80 -s "+s.addressOn("api", "check_back")+" -j REJECT --reject-with tcp-reset")
	s.inNetworkOf("web", "iptables -w -A OUTPUT -p udp --dport 9 -j DROP")
	for _, c := range []struct {
		from, to string
		result   api.ReachResult
		reason   api.ReachReason
		text     string // that the summary has
	}{
		{"web", "api:80", api.ReachYes, "", "over check_front"},
		{"web", "db", api.ReachNo, api.ReasonNoCommon, "web is on check_front, db is on check_back"},
		{"web", "db:81", api.ReachNo, api.ReasonNoCommon, ""},
		{"api", "db:7/udp", api.ReachYes, "", "over check_back"},
		{"api", "db:80", api.ReachNo, api.ReasonRejected, "although check-db-1 listens"},
		{"api", "db:81", api.ReachNo, api.ReasonUnanswered, "arrived at eth0"},
		{"api", "db:82", api.ReachClosed, api.ReasonNotListening, "nothing in check-db-1 listens on port 82"},
		{"api", "db:82/udp", api.ReachClosed, api.ReasonNotListening, ""},
		{"web", "local:80", api.ReachClosed, api.ReasonLoopbackOnly, "127.0.0.1:80 only"},
		{"local", "local:80", api.ReachYes, "", "127.0.0.1"},
		{"web", "api:9/udp", api.ReachNo, api.ReasonDropped, "inside"},
		{"web", "sidecar:8000", api.ReachYes, "", "127.0.0.1"},
		{"web", "job", api.ReachNo, api.ReasonNotRunning, "Exited (0)"},
		{"job", "web", api.ReachNo, api.ReasonNotRunning, "Exited (0)"},
		{"web", "alone", api.ReachNo, api.ReasonNoNetwork, ""},
		{"alone", "web", api.ReachNo, api.ReasonNoNetwork, ""},
		{"db", "metal:7070", api.ReachYes, "", "over check_back"},
		{"web", "host", api.ReachYes, "", "over check_front"},
		{"db", "host", api.ReachYes, "", "over check_back"},
		{"web", "host:7070", api.ReachYes, "", ""},
		{"web", "host:7071", api.ReachClosed, api.ReasonNotListening, "nothing in the host listens"},
		{"web", "host:7777", api.ReachNo, api.ReasonUnanswered, "look for a firewall in the host"},
		{"metal", "host:7070", api.ReachYes, "", "127.0.0.1"},
		{"web", "outside", api.ReachYes, "", neighbourAddress + " answers"},
		{"db", "outside", api.ReachNo, api.ReasonInternal, "no way out of check_back"},
		{"web", neighbourAddress + ":80", api.ReachYes, "", ""},
		{"web", neighbourAddress + ":81", api.ReachNo, api.ReasonDropped, "nothing left the host"},
		{"web", "192.0.2.77:80", api.ReachNo, "", ""}, // nobody has it: how the kernel says so is a matter of time
		{"db", neighbourAddress + ":80", api.ReachNo, api.ReasonInternal, ""},
		{"web", "nobody.example:80", api.ReachNo, api.ReasonNameUnknown, "does not resolve in web"},
		{"api", "check-db-1.check_back:82", api.ReachClosed, api.ReasonNotListening, ""},
	} {
		got := s.check("--timeout", checkLimit(c.result, c.reason), c.from, c.to)
		if got.Result != c.result || c.reason != "" && got.Reason != c.reason || !strings.Contains(got.Summary, c.text) {
			s.t.Errorf("%s → %s: %+v, want %s %s %q", c.from, c.to, got, c.result, c.reason, c.text)
		}
	}
	for _, bad := range [][]string{{"nobody"}, {"web", "nobody"}, {"web", "api:x"}, {"web", "outside:80"}, {"--format", "x"}, {"a", "b", "c"}} {
		if r := s.run(append([]string{"network", "check"}, bad...)...); r.code != 1 || r.stderr == "" {
			s.t.Errorf("exit code %d: %s", r.code, r)
		}
	}
}

// checkLimit is how long an answer is waited for: where none is to come, only the time that passes shows that.
func checkLimit(result api.ReachResult, reason api.ReachReason) string {
	if result == api.ReachNo && reason != api.ReasonRejected {
		return "3s"
	}
	return patience.String()
}

// check makes one check and compares its exit code with its result.
func (s *site) check(args ...string) api.ReachCheck {
	s.t.Helper()
	r := s.run(append([]string{"network", "check", "--format", "json"}, args...)...)
	var report api.Reach
	if err := json.Unmarshal([]byte(r.stdout), &report); err != nil || len(report.Checks) != 1 {
		s.t.Fatalf("%v: %s", err, r)
	}
	c := report.Checks[0]
	if (c.Result == api.ReachYes) != (r.code == 0) || r.code != 0 && r.code != 2 {
		s.t.Errorf("exit code %d: %s", r.code, r)
	}
	return c
}

// inNetworkOf runs a script of the host's programs in the network namespace of a service.
func (s *site) inNetworkOf(service, script string) {
	s.t.Helper()
	err := s.host.in(s.record(service).State.Pid, func() error {
		out, err := exec.Command("sh", "-ec", script).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s: %w: %s", script, err, out)
		}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// addressOn is the IPv4 address of the first container of a service on a network.
func (s *site) addressOn(service, network string) string {
	s.t.Helper()
	for _, r := range s.records() {
		for _, p := range r.State.Endpoints {
			if r.Service == service && r.Number == 1 && p.Network == network {
				return p.IPv4.Addr().String()
			}
		}
	}
	s.t.Fatalf("%s is not on %s", service, network)
	return ""
}
