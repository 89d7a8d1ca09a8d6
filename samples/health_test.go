package samples

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// With docker's defaults a service has to be found ready long before docker's first probe after half a minute, by each kind
// of health check; those that need no program in the image have to work in one that has none.
func TestHealthDefaults(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.write("Dockerfile", "FROM busybox:latest AS tools\nFROM scratch\nCOPY --from=tools /bin/busybox /busybox\n")
	const server = `
    build: .
    entrypoint: [/busybox, httpd, -f, -h, /www]
    volumes: ["./www:/www"]
    stop_grace_period: 0s`
	s.write("www/index.html", "hello")
	s.write("compose.yaml", `
services:
  program:
    image: busybox:latest
    command: sh -c 'sleep 0.5; touch /tmp/ready; exec sleep 1000'
    healthcheck: {test: test -f /tmp/ready}
    stop_grace_period: 0s
  http:`+server+`
    command: [-p, "8080"]
    healthcheck: {x-http: "http://localhost:8080/"}
  long:`+server+`
    command: [-p, "80"]
    healthcheck:
      x-http: {url: "http://long/no-such-page", status: [404], headers: {X-Token: a}}
  tcp:`+server+`
    command: [-p, "5432"]
    healthcheck: {x-tcp: 5432}
  nobody:`+server+`
    command: [-p, "80"]
    healthcheck: {x-tcp: 81, interval: 100ms, retries: 2}
  isolated:`+server+`
    command: [-p, "80"]
    network_mode: none
    healthcheck: {x-http: "http://127.0.0.1/"}
`)
	services := []string{"program", "http", "long", "tcp", "isolated"}
	s.must(append([]string{"up", "-d", "--build", "--wait"}, services...)...)
	for _, service := range services {
		if st := s.recordOf("project-" + service + "-1").State; st.Healthy.IsZero() || st.Healthy.Sub(st.Started) > 29*time.Second {
			t.Errorf("%s was started at %v and healthy at %v: no sooner than with docker", service, st.Started, st.Healthy)
		}
	}
	r := s.run("up", "-d", "--wait", "nobody")
	if r.code == 0 || !strings.Contains(r.stderr, `service "nobody"`) || !strings.Contains(r.stderr, "connection refused") {
		t.Errorf("the message does not say that nobody listens: %s", r)
	}
	s.must("down", "-t", "0")
}

// A probe that takes too long must end with everything that it has started.
func TestProbeTimeout(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.write("compose.yaml", `
services:
  slow:
    image: busybox:latest
    command: sleep 1000
    healthcheck: {test: "sleep 1001 & (sleep 1002 & sleep 1003)", timeout: 200ms, interval: 300ms, retries: 2}
    stop_grace_period: 0s
`)
	s.must("up", "-d")
	s.state("slow", "running unhealthy")
	s.must("pause") // no more probes
	eventually(t, commandTimeout, func() error {
		n := 0
		for _, p := range s.processes() {
			if strings.HasPrefix(p.cmdline, "sleep 100") && !strings.HasPrefix(p.cmdline, "sleep 1000") {
				n++
			}
		}
		if n > 3 { // those of the last probe may have been frozen
			return fmt.Errorf("%d processes of probes are left", n)
		}
		return nil
	})
	s.must("unpause")
	s.must("down", "-t", "0")
}

// With x-on-unhealthy a container that is not healthy any more must be restarted, with what the restart policy counts.
func TestRestartWhenUnhealthy(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.write("compose.yaml", `
services:
  heals:
    image: busybox:latest
    command: sh -c 'echo started; trap "echo ending; exit 0" TERM; touch /tmp/well; sleep 1000 & wait'
    healthcheck: {test: test -f /tmp/well, interval: 100ms, retries: 1, start_period: 5m, start_interval: 50ms, x-on-unhealthy: restart}
  never:
    image: busybox:latest
    command: sh -c 'echo started; exec sleep 1000'
    restart: on-failure:2
    healthcheck: {test: "false", interval: 50ms, retries: 1, x-on-unhealthy: restart}
    stop_grace_period: 0s
  left:
    image: busybox:latest
    command: sh -c 'echo started; exec sleep 1000'
    restart: always
    healthcheck: {test: "false", interval: 50ms, retries: 1}
    stop_grace_period: 0s
`)
	s.must("up", "-d")
	s.state("heals", "running healthy")
	s.must("exec", "-T", "heals", "rm", "/tmp/well")
	s.started("heals", 2)
	s.state("heals", "running healthy")
	if log := s.must("logs", "--no-log-prefix", "heals"); !strings.Contains(log, "ending\n") {
		t.Errorf("it was not asked to end: %s", log)
	}
	s.started("never", 3)
	s.state("never", "exited")
	s.state("left", "running unhealthy")
	s.started("left", 1)
	s.must("down", "-t", "0")
}

// The image's health check must hold, field by field, where the service says nothing.
func TestHealthOfImage(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.write("Dockerfile", "FROM busybox:latest\nHEALTHCHECK --interval=100ms --retries=1 CMD test -f /tmp/a\n")
	const base = "\n    build: .\n    image: checked\n    command: sh -c 'touch /tmp/a; exec sleep 1000'\n    stop_grace_period: 0s\n"
	s.write("compose.yaml", "services:\n  inherited:"+base+
		"  changed:"+base+"    healthcheck: {test: \"test -f /tmp/b\"}\n"+
		"  disabled:"+base+"    healthcheck: {disable: true}\n"+
		"  none:"+base+"    healthcheck: {test: [NONE]}\n")
	s.must("up", "-d", "--build")
	s.state("inherited", "running healthy")
	s.state("changed", "running unhealthy") // by the image's interval and retries
	s.state("disabled", "running")
	s.state("none", "running")
	s.must("down", "-t", "0")
}

// `up --wait` must take a job that ends well for a success, and name one that does not; a job that has succeeded must not be
// run again for nothing.
func TestJobs(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	compose := func(version string) {
		s.write("compose.yaml", `
services:
  db:
    image: busybox:latest
    command: sleep 1000
    environment: {VERSION: "`+version+`"}
    stop_grace_period: 0s
  migrate:
    image: busybox:latest
    command: sh -c 'echo started; exit ${CODE:-0}'
    depends_on: [db]
  web:
    image: busybox:latest
    command: sleep 1000
    depends_on: {migrate: {condition: service_completed_successfully}}
    stop_grace_period: 0s
  once:
    image: busybox:latest
    command: echo started
`)
	}
	compose("1")
	s.must("up", "-d", "--wait")
	s.started("migrate", 1)
	s.must("up", "-d", "--wait")
	s.started("migrate", 1)
	s.started("once", 2) // nobody waits for it: docker compose starts it again, and so does tutti
	s.must("up", "-d", "migrate")
	s.started("migrate", 2)
	compose("2") // what it depends on is created anew
	s.must("up", "-d")
	s.started("migrate", 3)
	s.must("restart", "-t", "0", "db")
	s.must("up", "-d")
	s.started("migrate", 3)
	s.environ = append(s.environ, "CODE=3")
	r := s.run("up", "-d", "--wait")
	if r.code == 0 || !strings.Contains(r.stderr, `service "migrate"`) && !strings.Contains(r.stderr, `service "web"`) || !strings.Contains(r.stderr, "exit 3") {
		t.Errorf("the message does not name the job: %s", r)
	}
	s.must("down", "-t", "0")
}

// Hooks must run where docker compose runs them, as whom and where they say, and their failure must be told.
func TestHooks(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.write("compose.yaml", `
services:
  web:
    image: busybox:latest
    command: sleep 1000
    user: "1000"
    volumes: ["./state:/state"]
    stop_grace_period: 0s
    restart: always
    environment: {A: of the service}
    post_start:
      - {command: sh -c 'echo "post $(id -u) $(pwd) $$A $$B" >> /state/log; echo after the start', user: root, working_dir: /tmp, environment: {B: of the hook}}
      - {command: sh -c 'echo "post $(id -u)" >> /state/log'}
    pre_stop:
      - {command: sh -c 'echo "stop $(id -u)" >> /state/log', user: root}
  bad:
    image: busybox:latest
    command: sleep 1000
    stop_grace_period: 0s
    profiles: [bad]
    post_start:
      - {command: sh -c 'echo progress; echo no disk >&2; exit 3'}
      - {command: touch /never}
  hangs:
    image: busybox:latest
    command: sh -c 'trap "exit 0" TERM; sleep 1000 & wait'
    profiles: [bad]
    stop_grace_period: 1s
    pre_stop: [{command: sleep 1009}]
  after:
    image: busybox:latest
    command: sleep 1000
    profiles: [bad]
    depends_on: [bad]
`)
	s.write("state/log", "")
	s.onHost("chmod 777 " + s.dir + "/state && chmod 666 " + s.dir + "/state/log")
	log := func(want string) {
		t.Helper()
		eventually(t, commandTimeout, func() error {
			if got := s.onHost("cat " + s.dir + "/state/log"); got != want {
				return fmt.Errorf("the hooks have written %q, want %q", got, want)
			}
			return nil
		})
	}
	const start = "post 0 /tmp of the service of the hook\npost 1000\n"
	s.must("up", "-d")
	log(start)
	s.must("up", "-d") // it runs already
	s.must("restart", "-t", "0")
	log(start + "stop 0\n" + start)
	s.killCommand("sleep 1000") // a crash is no stop
	log(start + "stop 0\n" + start + start)
	s.must("stop", "-t", "0")
	s.must("kill") // of what does not run
	log(start + "stop 0\n" + start + start + "stop 0\n")
	r := s.run("--profile", "bad", "up", "-d", "after")
	if r.code == 0 || !strings.Contains(r.stderr, `service "bad"`) || !strings.Contains(r.stderr, "post_start hook exited with status 3: no disk") {
		t.Errorf("the message does not say that the hook failed: %s", r)
	}
	if got := s.must("--profile", "bad", "ps", "--services"); got != "bad\n" { // it runs, as docker compose leaves it; what depends on it does not
		t.Errorf("running are %q", got)
	}
	if r := s.run("exec", "-T", "bad", "test", "-e", "/never"); r.code != 1 {
		t.Errorf("the hook behind the one that failed was run: %s", r)
	}
	s.must("--profile", "bad", "up", "-d", "hangs")
	s.must("--profile", "bad", "down") // the grace period holds for the hook, too
	s.write("state/log", "")
	s.must("up", "-d")
	s.must("down", "-t", "0")
	log(start + "stop 0\n")
}

// What a hook prints must be seen by who is attached, marked as docker compose marks it.
func TestHookOutput(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.write("compose.yaml", `
services:
  web:
    image: busybox:latest
    command: sh -c 'until [ -e /gate/open ]; do sleep 0.1; done'
    volumes: ["./gate:/gate"]
    post_start: [{command: echo after the start}]
`)
	s.write("gate/.keep", "")
	up := s.start("up")
	up.until("after the start")
	s.write("gate/open", "")
	r := up.wait()
	if !strings.Contains(r.stdout, "web-1 ->  | after the start\n") {
		t.Errorf("the hook's line is not there: %s", r)
	}
	var state struct{ ExitCode int }
	if err := json.Unmarshal([]byte(s.must("ps", "--all", "--format", "json")), &state); err != nil || state.ExitCode != 0 {
		t.Errorf("%v %+v", err, state)
	}
	s.must("down")
}
