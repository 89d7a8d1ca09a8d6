package samples

import (
	"encoding/json"
	"errors"
	"strings"
	"syscall"
	"testing"
)

// wait must tell the exit codes of containers that end later and of those that have ended, over the death of the engine, and
// end with the last one.
func TestWait(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.write("compose.yaml", `
services:
  quick:
    image: busybox:latest
    command: sh -c 'exit 3'
  slow:
    image: busybox:latest
    command: sh -c 'trap "exit 5" TERM; echo ready; while :; do sleep 0.05; done'
`)
	s.must("up", "-d")
	s.state("quick", "exited")
	eventually(t, commandTimeout, func() error { // the trap is set
		if log := s.must("logs", "--no-log-prefix", "slow"); log != "ready\n" {
			return errors.New("the log is " + log)
		}
		return nil
	})
	if r := s.run("wait", "quick"); r.code != 3 || !strings.HasSuffix(r.stdout, "exited with status code 3\n") {
		t.Errorf("of one that has ended: exit code %d: %s", r.code, r)
	}
	for range 10 { // it ends at some moment of this
		s.must("start", "quick")
		s.must("logs", "--follow", "quick")
	}
	if r := s.run("wait", "nosuch"); r.code != 1 || !strings.Contains(r.stderr, "no containers for project") {
		t.Errorf("exit code %d: %s", r.code, r)
	}
	if r := s.run("wait"); r.code != 1 || !strings.Contains(r.stderr, "requires at least 1 argument") {
		t.Errorf("exit code %d: %s", r.code, r)
	}
	wait := s.start("wait", "--down-project", "slow")
	if err := syscall.Kill(s.engine(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	s.must("stop", "-t", "60", "slow")
	if r := wait.wait(); r.code != 5 || !strings.Contains(r.stdout, "exited with status code 5\n") {
		t.Errorf("exit code %d: %s", r.code, r)
	}
	s.mustBeEmpty("project")
}

// create, scale, port, volumes and rm, as docker compose does them.
func TestCreateScalePortVolumesRemove(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.write("compose.yaml", `
services:
  web:
    image: busybox:latest
    command: sleep 1000
    init: true
    ports: ["8091:80", "127.0.0.1:8092:53/udp"]
    volumes: ["data:/data", /anonymous]
  worker:
    image: busybox:latest
    command: sleep 1000
    init: true
    ports: ["7000"]
volumes:
  data:
`)
	states := func(want string) {
		t.Helper()
		if got := s.must("ps", "-a", "--format", "{{.Name}} {{.State}}"); got != want {
			t.Errorf("there are %q, want %q", got, want)
		}
	}
	s.must("create", "--scale", "worker=2")
	states("project-web-1 created\nproject-worker-1 created\nproject-worker-2 created\n")
	s.must("start")
	s.must("scale", "worker=3", "web=1")
	states("project-web-1 running\nproject-worker-1 running\nproject-worker-2 running\nproject-worker-3 running\n")
	s.must("scale", "--no-deps", "worker=1")
	states("project-web-1 running\nproject-worker-1 running\n")
	for _, bad := range []string{"worker", "worker=x", "nosuch=1"} {
		if r := s.run("scale", bad); r.code != 1 {
			t.Errorf("exit code %d: %s", r.code, r)
		}
	}
	for _, tt := range []struct{ args, out, err string }{
		{"port web 80", "0.0.0.0:8091\n", ""},
		{"port --protocol udp web 53", "127.0.0.1:8092\n", ""},
		{"port --protocol UDP web", "53/udp -> 127.0.0.1:8092\n", ""},
		{"port web 81", "", "no port 81/tcp for container project-web-1: "},
		{"port --index 2 worker 7000", "", `service "worker" is not running container #2`},
		{"port nosuch 80", "", `service "nosuch" is not running`},
		{"volumes", "DRIVER    VOLUME NAME\nlocal     project_data\n", ""},
		{"volumes -q worker", "", ""},
		{"volumes --format {{.Name}} web", "project_data\n", ""},
		{"volumes nosuch", "", "no such service: nosuch"},
		{"rm -f web", "", "No stopped containers"},
	} {
		r := s.run(strings.Fields(tt.args)...)
		if r.stdout != tt.out || !strings.Contains(r.stderr, tt.err) || (r.code == 0) != (tt.err == "" || strings.HasPrefix(tt.args, "rm")) {
			t.Errorf("exit code %d: %s", r.code, r)
		}
	}
	anonymous := func() int { return strings.Count(s.must("volume", "ls", "-q"), "\n") - 1 }
	if n := anonymous(); n != 1 {
		t.Errorf("there are %d anonymous volumes", n)
	}
	if r := s.run("rm", "--stop", "web"); r.code != 0 || !strings.HasPrefix(r.stdout, "Going to remove project-web-1") {
		t.Errorf("nobody said yes: exit code %d: %s", r.code, r)
	}
	states("project-web-1 exited\nproject-worker-1 running\n")
	if r := s.run("rm", "-f", "-v"); r.code != 0 || r.stdout != "Going to remove project-web-1\n" || !strings.Contains(r.stderr, "Removed") {
		t.Errorf("exit code %d: %s", r.code, r)
	}
	states("project-worker-1 running\n")
	if n := anonymous(); n != 0 {
		t.Errorf("rm -v leaves %d anonymous volumes", n)
	}
	var ports []struct{ TargetPort, PublishedPort int }
	if err := json.Unmarshal([]byte(s.must("port", "--format", "json", "worker")), &ports); err != nil || len(ports) != 2 || ports[0].TargetPort != 7000 {
		t.Errorf("the ports are %v, %v", ports, err)
	}
}
