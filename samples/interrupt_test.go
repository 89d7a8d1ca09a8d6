package samples

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"
)

// jobAndDB begins projects: a database that is healthy when a job has prepared its data, and what their services share.
const jobAndDB = `x-base: &base
  image: busybox:latest
  command: sh -c 'trap "exit 0" TERM; while :; do sleep 0.1; done'
  stop_grace_period: 2s
services:
  job:
    image: busybox:latest
    command: sh -c 'echo preparing; sleep 0.1; echo prepared'
    volumes: ["data:/data"]
  db:
    <<: *base
    volumes: ["data:/data"]
    depends_on: {job: {condition: service_completed_successfully}}
    healthcheck: {test: test -d /data, interval: 1s, start_period: 5s, start_interval: 50ms}
`

// chain is a project whose `up` takes a while and passes through every kind of step: a network, a volume, a published
// port, a job, a health check, and containers that wait for one another.
const chain = `
name: chain
` + jobAndDB + `  api:
    <<: *base
    networks: [default, inner]
    depends_on: {db: {condition: service_healthy}}
  web:
    <<: *base
    ports: ["8090:80", "8090:80/udp"]
    depends_on: [api]
  other:
    <<: *base
    scale: 3
networks:
  inner: {internal: true}
volumes:
  data:
`

// moments are points in time after the start of a command, spread over all of it and different in every run.
func moments(t testing.TB, n int, within time.Duration) []time.Duration {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	list := make([]time.Duration, n)
	for i := range list {
		list[i] = (time.Duration(i)*within + time.Duration(random.Int64N(int64(within)))) / time.Duration(n)
	}
	return list
}

// Ctrl-C at any moment of `up` must end it, and `down` must leave nothing, however far `up` had come.
func TestInterruptedUp(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"foreground", "detached"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			s := newBusyboxSite(t)
			s.write("compose.yaml", chain)
			args := []string{"up"}
			if mode == "detached" {
				args = append(args, "-d")
			}
			for _, moment := range moments(t, 8, 1200*time.Millisecond) {
				up := s.start(args...)
				time.Sleep(moment) // no event to wait for: any moment will do
				up.signal(syscall.SIGINT)
				if r := up.wait(); r.code != 130 && (r.code != 0 || mode == "foreground") {
					t.Errorf("interrupted after %v: exit code %d, want 130: %s", moment, r.code, r)
				}
				if mode == "foreground" {
					if ps := s.must("ps", "--quiet"); ps != "" {
						t.Errorf("interrupted after %v: containers still run:\n%s", moment, s.must("ps"))
					}
				}
				s.must("down", "-v", "-t", "0")
				s.mustBeEmpty("chain")
			}
		})
	}
}

// A second Ctrl-C must kill containers that do not stop.
func TestSecondInterruptKills(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.write("compose.yaml", `
services:
  stubborn:
    image: busybox:latest
    command: sh -c 'trap "echo not yet" TERM; echo ready; while :; do sleep 0.1; done'
    stop_grace_period: 10m
`)
	up := s.start("up")
	up.until("ready")
	up.signal(syscall.SIGINT)
	up.until("not yet")
	up.signal(syscall.SIGINT)
	start := time.Now()
	r := up.wait()
	if r.code == 0 || time.Since(start) > time.Minute {
		t.Errorf("exit code %d after %v: %s", r.code, time.Since(start), r)
	}
	if state := s.must("ps", "--all", "--format", "{{.State}} {{.ExitCode}}"); strings.TrimSpace(state) != "exited 137" {
		t.Errorf("state %q, want exited 137", state)
	}
}

// The engine killed at any moment of `up` must come back by itself; the next command must work, a second `up` must
// complete what the first one had begun, and `down` must leave nothing.
func TestEngineKilledDuringUp(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.write("compose.yaml", chain)
	for i, moment := range moments(t, 8, 800*time.Millisecond) {
		s.must("ls") // starts the engine
		up := s.start("up", "-d")
		time.Sleep(moment) // no event to wait for: any moment will do
		if err := syscall.Kill(s.engine(), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		_ = up.wait() // may have failed with its engine, or been done before
		if i%2 == 0 {
			s.must("up", "-d", "--wait", "db", "api", "web", "other")
			if got := strings.Count(s.must("ps", "--format", "{{.Name}} {{.State}}\n", "db", "api", "web", "other"), "running"); got != 6 {
				t.Errorf("killed after %v: %d containers run after the next up, want 6:\n%s", moment, got, s.must("ps", "-a"))
			}
		}
		s.must("down", "-v", "-t", "0")
		s.mustBeEmpty("chain")
	}
}

// Containers must go on while the engine is killed again and again: no process restarted, no line of a log lost or
// doubled, and every command works at once.
func TestEngineKilledWhileContainersRun(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.write("compose.yaml", `
services:
  writer:
    image: busybox:latest
    command: sh -c 'i=0; while [ $$i -lt 2000 ]; do i=$$((i+1)); echo line $$i; [ $$((i % 20)) -ne 0 ] || usleep 20000; done; echo done; exit 7'
  web:
    image: busybox:latest
    command: sh -c 'mkdir /www; hostname > /www/index.html; exec httpd -f -p 80 -h /www'
    hostname: web
    ports: ["8080:80"]
    healthcheck: {test: wget -q -O /dev/null http://127.0.0.1, interval: 500ms, start_period: 5s, start_interval: 50ms}
`)
	s.must("up", "-d", "--wait", "web")
	s.must("up", "-d", "--no-deps", "writer")
	before := s.must("container", "ls", "--format", "{{.ID}} {{.Names}}")
	for range 5 {
		if err := syscall.Kill(s.engine(), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if got, err := s.host.get(s.host.neighbour, hostAddress+":8080"); got != "web" {
			t.Errorf("published port right after the kill: %q, %v", got, err)
		}
		if out := s.must("exec", "-T", "web", "hostname"); out != "web\n" {
			t.Errorf("exec right after the kill: %q", out)
		}
		if got := ask(s, patience, s.dir+"/compose.yaml", "web", "web"); got != "web" {
			t.Errorf("name lookup right after the kill: answer %q", got)
		}
	}
	if after := s.must("container", "ls", "--format", "{{.ID}} {{.Names}}"); !strings.Contains(after, "web") || !strings.Contains(before, lineWith(after, "web")) {
		t.Errorf("containers changed from\n%s to\n%s", before, after)
	}
	eventually(t, commandTimeout, func() error {
		state := strings.TrimSpace(s.must("ps", "--all", "--format", "{{.State}} {{.ExitCode}}", "writer"))
		if state != "exited 7" {
			return fmt.Errorf("state of writer is %q, want exited 7", state)
		}
		return nil
	})
	var want strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&want, "line %d\n", i+1)
	}
	want.WriteString("done\n")
	if got := s.must("logs", "--no-log-prefix", "--no-color", "writer"); got != want.String() {
		t.Errorf("the log differs:\n%s", difference(want.String(), got))
	}
	s.must("down", "-t", "0")
}

func lineWith(text, part string) string {
	for line := range strings.Lines(text) {
		if strings.Contains(line, part) {
			return line
		}
	}
	return ""
}
