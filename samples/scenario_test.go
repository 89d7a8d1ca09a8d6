package samples

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A dependency that fails must stop its dependents, and the message must say why, with the end of its log.
func TestFailingDependency(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.write("compose.yaml", `
services:
  job:
    image: busybox:latest
    command: sh -c 'echo looking for the disk; echo no disk >&2; exit 3'
  sick:
    image: busybox:latest
    command: sh -c 'echo feeling sick; sleep 1000'
    healthcheck: {test: "false", interval: 50ms, retries: 2}
  after-job:
    image: busybox:latest
    command: sleep 1000
    depends_on: {job: {condition: service_completed_successfully}}
  after-sick:
    image: busybox:latest
    command: sleep 1000
    depends_on: {sick: {condition: service_healthy}}
`)
	for dependency, wants := range map[string][]string{"job": {"job", "3", "no disk"}, "sick": {"sick", "unhealthy"}} {
		dependent := "after-" + dependency
		r := s.run("up", "-d", dependent)
		if r.code == 0 {
			t.Errorf("up of %s succeeds: %s", dependent, r)
		}
		for _, want := range wants {
			if !strings.Contains(r.stderr, want) {
				t.Errorf("the message does not hold %q: %s", want, r)
			}
		}
		if state := s.must("ps", "--format", "{{.State}}", dependent); state != "" {
			t.Errorf("%s is %s", dependent, state)
		}
	}
	s.must("down", "-t", "0")
	s.mustBeEmpty("project")
}

// Named volumes must be filled from the image on first use, outlive `down`, and end with `down -v`; binds must be
// seen on both sides; tmpfs must be fresh every time.
func TestVolumes(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.write("Dockerfile", "FROM busybox:latest\nRUN mkdir -p /data && echo from the image > /data/file && chown 1000:1000 /data/file && chmod 640 /data/file\n")
	s.write("bind/hello", "from the host\n")
	s.write("compose.yaml", `
services:
  a:
    build: .
    command: sleep 1000
    init: true
    tmpfs: [/scratch]
    volumes:
      - named:/data
      - ./bind:/bind
      - ./bind:/readonly:ro
volumes:
  named:
`)
	sh := func(script string) string {
		t.Helper()
		return s.must("exec", "-T", "a", "sh", "-c", script)
	}
	s.must("up", "-d", "--build")
	if got := sh("cat /data/file /bind/hello; stat -c '%u:%g %a' /data/file"); got != "from the image\nfrom the host\n1000:1000 640\n" {
		t.Errorf("the container sees %q", got)
	}
	sh("echo changed > /data/file; echo from the container > /bind/reply; echo x > /scratch/x")
	if r := s.run("exec", "-T", "a", "touch", "/readonly/x"); r.code == 0 {
		t.Error("a read-only bind can be written to")
	}
	if got := s.onHost("cat " + s.dir + "/bind/reply"); got != "from the container\n" {
		t.Errorf("the host sees %q", got)
	}
	s.must("down", "-t", "0")
	s.must("up", "-d")
	if got := sh("cat /data/file; ls /scratch"); got != "changed\n" {
		t.Errorf("after down and up the container sees %q", got)
	}
	s.must("down", "-v", "-t", "0")
	s.must("up", "-d")
	if got := sh("cat /data/file"); got != "from the image\n" {
		t.Errorf("after down -v and up the container sees %q", got)
	}
	s.must("down", "-v", "-t", "0")
	s.mustBeEmpty("project")
}

// A published UDP port must answer from the host and from another machine; with network_mode host a container must use
// the host's network, with none it must have no network at all.
func TestNetworkModes(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.write("compose.yaml", `
services:
  echo:
    build: .
    ports: ["5353:7/udp"]
  host:
    image: busybox:latest
    command: sh -c 'mkdir /www; echo host > /www/index.html; exec httpd -f -p 8085 -h /www'
    network_mode: host
  none:
    image: busybox:latest
    command: sleep 1000
    network_mode: none
`)
	compile := exec.Command("go", "build", "-o", s.dir, "./testdata/udpecho")
	compile.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := compile.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s.write("Dockerfile", "FROM scratch\nCOPY udpecho /\nENTRYPOINT [\"/udpecho\"]\n")
	s.must("up", "-d", "--build")
	eventually(t, commandTimeout, func() error {
		got, err := s.host.get(s.host.neighbour, hostAddress+":8085")
		if err == nil && got != "host" {
			err = fmt.Errorf("host network: answer %q", got)
		}
		return err
	})
	if got := s.must("exec", "-T", "none", "ip", "-o", "link"); strings.Count(got, "\n") != 1 || !strings.Contains(got, "lo") {
		t.Errorf("without network there are the links\n%s", got)
	}
	eventually(t, commandTimeout, func() error { return s.echo(s.host.neighbour, hostAddress+":5353") })
	eventually(t, commandTimeout, func() error { return s.echo(s.host.pid, "127.0.0.1:5353") })
	s.must("down", "-t", "0")
}

// echo sends a datagram and expects it back.
func (s *site) echo(pid int, address string) error {
	return s.host.in(pid, func() error {
		conn, err := net.Dial("udp", address)
		if err != nil {
			return err
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(500 * time.Millisecond)); err != nil {
			return err
		}
		if _, err := conn.Write([]byte("ping")); err != nil {
			return err
		}
		answer := make([]byte, 16)
		n, err := conn.Read(answer)
		if err == nil && string(answer[:n]) != "ping" {
			err = fmt.Errorf("answer %q", answer[:n])
		}
		return err
	})
}

// `up --exit-code-from` must end everything when a container ends, and with that service's code.
func TestExitCodeFrom(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.write("compose.yaml", `
services:
  one: {image: "busybox:latest", command: sleep 1000, stop_grace_period: 0s}
  two: {image: "busybox:latest", command: sh -c 'exit 5', depends_on: [one]}
`)
	if r := s.run("up", "--exit-code-from", "two"); r.code != 5 {
		t.Errorf("exit code %d, want 5: %s", r.code, r)
	}
	if ps := s.must("ps", "--quiet"); ps != "" {
		t.Errorf("containers still run: %s", s.must("ps"))
	}
	// One that is replaced gives way: that is no exit.
	s.must("up", "-d", "one")
	s.write("compose.yaml", `
services:
  one: {image: "busybox:latest", command: sleep 2000, stop_grace_period: 0s}
  two: {image: "busybox:latest", command: sh -c 'exit 5', depends_on: [one]}
`)
	if r := s.run("up", "--abort-on-container-exit"); r.code != 5 || strings.Index(r.stdout, "one-1 exited") < strings.Index(r.stdout, "two-1 exited with code 5") {
		t.Errorf("exit code %d, want 5: %s", r.code, r)
	}
}

// `up` must print the containers' lines behind their names and end when they have all ended; `logs` must show the same afterwards.
func TestForegroundUp(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.write("compose.yaml", `
services:
  one: {image: "busybox:latest", command: sh -c 'echo first; echo second >&2; printf unfinished'}
  two: {image: "busybox:latest", command: sh -c 'sleep 0.2; echo hello; exit 5'}
`)
	r := s.run("up")
	for _, line := range []string{"one-1  | first\n", "one-1  | unfinished\n", "two-1  | hello\n", "one-1 exited with code 0\n", "two-1 exited with code 5\n"} {
		if !strings.Contains(r.stdout, line) {
			t.Errorf("no %q in the standard output: %s", line, r)
		}
	}
	if line := "one-1  | second\n"; !strings.Contains(r.stderr, line) {
		t.Errorf("no %q in the standard error: %s", line, r)
	}
	if r.code != 0 {
		t.Errorf("exit code %d, want 0: %s", r.code, r)
	}
	s.must("down")
	s.must("up", "-d")
	eventually(t, commandTimeout, func() error {
		lines := strings.Split(s.must("logs", "--no-log-prefix", "one"), "\n") // the order of the two streams is left open
		slices.Sort(lines)
		if got := strings.Join(lines, " "); got != " first second unfinished" {
			return fmt.Errorf("logs: %q", got)
		}
		return nil
	})
	eventually(t, commandTimeout, func() error {
		if got := s.must("logs", "--no-log-prefix", "--tail", "1", "two"); got != "hello\n" {
			return fmt.Errorf("logs --tail 1: %q", got)
		}
		return nil
	})
	s.must("down")
}

// exec must pass standard input, output, environment, user, folder and exit code.
func TestExec(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.write("compose.yaml", "services:\n  a: {image: \"busybox:latest\", command: sleep 1000, environment: {COLOUR: blue}}\n")
	s.must("up", "-d")
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"-T a echo hello", 0, "hello\n"},
		{"-T a sh -c echo${IFS}$COLOUR", 0, "blue\n"},
		{"-T -e COLOUR=red a sh -c echo${IFS}$COLOUR", 0, "red\n"},
		{"-T -u 1000:1001 a id -u", 0, "1000\n"},
		{"-T -w /tmp a pwd", 0, "/tmp\n"},
		{"-T a sh -c exit${IFS}7", 7, ""},
		{"-T a sh -c kill${IFS}-9${IFS}$$", 137, ""},
		{"-T a no-such-program", 127, ""},
		{"-T a /etc/passwd", 126, ""},
	} {
		r := s.run(append([]string{"exec"}, strings.Fields(c.args)...)...)
		if r.code != c.code || c.code < 126 && r.stdout != c.want {
			t.Errorf("exec %s: exit code %d, output %q; want %d, %q\n%s", c.args, r.code, r.stdout, c.code, c.want, r.stderr)
		}
	}
	s.must("down", "-t", "0")
}

// Restart policies must hold whatever ends the process, and a `stop` must be final.
func TestRestart(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.write("compose.yaml", `
services:
  always: {image: "busybox:latest", command: sh -c 'echo started; exec sleep 1000', restart: always}
  failing: {image: "busybox:latest", command: sh -c 'echo started; exit 4', restart: "on-failure:2"}
  never: {image: "busybox:latest", command: sh -c 'echo started; exit 4'}
`)
	s.must("up", "-d")
	s.started("failing", 3)
	s.started("never", 1)
	s.started("always", 1)
	s.killCommand("sleep 1000")
	s.started("always", 2)
	s.must("stop", "-t", "0")
	if running := s.must("ps", "--quiet"); running != "" {
		t.Errorf("after stop there run:\n%s", s.must("ps"))
	}
	s.must("start", "always")
	s.started("always", 3)
	s.must("down", "-t", "0")
}

// The formats of listings that scripts read.
func TestListings(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.write("compose.yaml", `
name: lists
services:
  a: {image: "busybox:latest", command: sleep 1000, ports: ["8086:80"], scale: 1, volumes: ["v:/v"]}
  b: {image: "busybox:latest", command: sleep 1000, scale: 2}
  ended: {image: "busybox:latest", command: "true"}
  extra: {image: "busybox:latest", command: sleep 1000, profiles: [extra]}
volumes:
  v:
`)
	s.must("up", "-d", "--wait", "a", "b")
	s.must("up", "ended") // until it has ended
	var services []string
	for line := range strings.Lines(s.must("ps", "--format", "json")) {
		var row struct{ Service, State, Name, Image string }
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		if row.State != "running" || row.Image != "busybox:latest" || !strings.HasPrefix(row.Name, "lists-"+row.Service+"-") {
			t.Errorf("row %s", line)
		}
		services = append(services, row.Service)
	}
	if got := strings.Join(services, " "); got != "a b b" {
		t.Errorf("running services %q, want a b b", got)
	}
	for _, c := range []struct{ args, want string }{
		{"ps --services", "a\nb\n"},
		{"ps --format {{.Publishers}} a", "8086"},
		{"ls --format json", `"Name":"lists"`},
		{"ls --quiet", "lists\n"},
		{"images --format json", `"Repository":"busybox"`},
		{"volume ls --quiet", "lists_v\n"},
		{"network ls --format {{.Name}}", "lists_default\n"},
		{"version --format json", `"version"`},
		{"config --profiles", "extra\n"},
	} {
		if got := s.must(strings.Fields(c.args)...); !strings.Contains(got, c.want) {
			t.Errorf("%s: %q does not hold %q", c.args, got, c.want)
		}
	}
	s.must("down", "-v", "-t", "0")
}

// stdin_open must keep the standard input open, also over an engine's death, and a terminal whose output nobody wants must
// not hold its container up.
func TestStandardInputAndUnreadTerminal(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.write("compose.yaml", `
services:
  open: {image: "busybox:latest", command: cat, stdin_open: true}
  closed: {image: "busybox:latest", command: cat}
  chatty:
    image: busybox:latest
    tty: true
    logging: {driver: none}
    command: sh -c 'head -c 300000 /dev/zero | tr "\\0" x; touch /done; sleep 1000'
    stop_grace_period: 0s
`)
	s.must("up", "-d")
	eventually(t, commandTimeout, func() error {
		if r := s.run("exec", "-T", "chatty", "test", "-f", "/done"); r.code != 0 {
			return fmt.Errorf("the container has not written everything: %s", r)
		}
		return nil
	})
	s.state("closed", "exited")
	if err := syscall.Kill(s.engine(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	want := "chatty running open running"
	if got := strings.Join(strings.Fields(s.must("ps", "--format", "{{.Service}} {{.State}}\n")), " "); got != want {
		t.Errorf("running are %q, want %q", got, want)
	}
}
