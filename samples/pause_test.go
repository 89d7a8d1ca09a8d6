package samples

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// counting is a project with a container that writes a rising number into a file, and counts its own health checks.
const counting = `
services:
  writer:
    image: busybox:latest
    command: sh -c 'trap "exit 3" TERM; n=0; while :; do n=$$((n+1)); echo $$n > /data/count.new; mv /data/count.new /data/count; sleep 0.01; done'
    volumes: ["./data:/data"]
    restart: unless-stopped
    healthcheck: {test: "echo x >> /data/probes", interval: 50ms, retries: 1}
  other:
    image: busybox:latest
    command: sleep 1000
    init: true
`

// count is the number that the writer has come to.
func (s *site) count() int {
	s.t.Helper()
	n, err := strconv.Atoi(strings.TrimSpace(s.onHost("cat " + s.dir + "/data/count")))
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

// counts waits until the writer goes on, or has begun anew.
func (s *site) counts() {
	s.t.Helper()
	before := s.count()
	eventually(s.t, commandTimeout, func() error {
		if s.count() == before {
			return fmt.Errorf("the counter stands at %d", before)
		}
		return nil
	})
}

// A paused container must stand still, probes too, be refused an exec, stay paused over the death of the engine, and go on
// where it was.
func TestPause(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.write("data/count", "0\n")
	s.write("compose.yaml", counting)
	s.must("up", "-d", "--wait")
	s.counts()
	if r := s.run("pause", "writer"); r.code != 0 || !strings.Contains(r.stderr, "Paused") {
		t.Fatalf("exit code %d: %s", r.code, r)
	}
	stands, probes := s.count(), s.onHost("wc -c < "+s.dir+"/data/probes")
	if ps := s.must("ps", "--format", "{{.State}} {{.Status}}", "writer"); !strings.HasPrefix(ps, "paused Up ") || !strings.Contains(ps, "(Paused)") {
		t.Errorf("ps says %q", ps)
	}
	for _, refused := range [][]string{{"pause", "writer"}, {"exec", "-T", "writer", "true"}, {"unpause", "other"}} {
		if r := s.run(refused...); r.code != 1 || !strings.Contains(r.stderr, "paused") {
			t.Errorf("exit code %d: %s", r.code, r)
		}
	}
	if err := syscall.Kill(s.engine(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if state := s.must("ps", "--format", "{{.State}}", "writer"); state != "paused\n" {
		t.Errorf("after the engine's death it is %q", state)
	}
	if r := s.run("why", "writer"); r.code != 2 || !strings.Contains(r.stdout, "paused") {
		t.Errorf("exit code %d: %s", r.code, r)
	}
	if n, p := s.count(), s.onHost("wc -c < "+s.dir+"/data/probes"); n != stands || p != probes {
		t.Errorf("paused at %d it is at %d now; %s of %s probes", stands, n, p, probes)
	}
	s.must("unpause", "writer")
	s.counts()
	s.state("writer", "running healthy")
}

// A paused container must be stopped, restarted and killed like any other: the signal thaws it, so that it can end in its
// own way.
func TestEndOfPaused(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.write("data/count", "0\n")
	s.write("compose.yaml", counting)
	s.must("up", "-d", "--wait")
	for _, tt := range []struct {
		verb []string
		want string
	}{
		{[]string{"stop", "-t", "60", "writer"}, "exited 3"},
		{[]string{"kill", "writer"}, "exited 137"},
		{[]string{"kill", "--signal", "15", "writer"}, "exited 3"},
		{[]string{"restart", "-t", "60", "writer"}, "running 0"},
	} {
		s.must("start", "writer")
		s.counts() // so that it has set its trap
		s.must("pause", "writer")
		s.must(tt.verb...)
		eventually(t, commandTimeout, func() error {
			if got := s.must("ps", "-a", "--format", "{{.State}} {{.ExitCode}}", "writer"); got != tt.want+"\n" {
				return fmt.Errorf("after %v it is %q, want %q", tt.verb, got, tt.want)
			}
			return nil
		})
	}
	s.must("pause", "writer")
	s.must("down", "-t", "60")
	s.mustBeEmpty("project")
}

// Signals by name, number and as real-time signals must reach the program, those of services that are not in the file only
// when asked for.
func TestKillSignals(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	web := `
services:
  web:
    image: busybox:latest
    command: sh -c 'for n in 1 10 12 37 62; do trap "echo got $$n" $$n; done; echo ready; while :; do sleep 0.05; done'
`
	s.write("compose.yaml", web+`
  old:
    image: busybox:latest
    command: sleep 1000
    init: true
`)
	s.must("up", "-d")
	got := func(line string, n int) {
		t.Helper()
		eventually(t, commandTimeout, func() error {
			if log := s.must("logs", "--no-log-prefix", "web"); strings.Count(log, line+"\n") != n {
				return fmt.Errorf("no %d times %q in the log: %s", n, line, log)
			}
			return nil
		})
	}
	got("ready", 1)
	for _, tt := range []struct {
		signal, line string
		n            int
	}{
		{"SIGHUP", "got 1", 1},
		{"usr1", "got 10", 1},
		{"10", "got 10", 2},
		{"SIGUSR2", "got 12", 1},
		{"SIGRTMIN+3", "got 37", 1},
		{"RTMAX-2", "got 62", 1},
		{"37", "got 37", 2},
	} {
		s.must("kill", "-s", tt.signal, "web")
		got(tt.line, tt.n)
	}
	for _, bad := range []string{"999", "SIGNOSUCH", "-1", "SIGRTMIN+31"} {
		if r := s.run("kill", "--signal="+bad, "web"); r.code != 1 || !strings.Contains(r.stderr, "signal") {
			t.Errorf("exit code %d: %s", r.code, r)
		}
	}
	s.write("compose.yaml", web)
	s.must("kill")
	if states := s.must("ps", "-a", "--format", "{{.Service}} {{.State}} {{.ExitCode}}"); states != "old running 0\nweb exited 137\n" {
		t.Errorf("killed without orphans: %q", states)
	}
	s.must("kill", "--remove-orphans")
	if states := s.must("ps", "-a", "--format", "{{.Service}} {{.State}} {{.ExitCode}}"); states != "old exited 137\nweb exited 137\n" {
		t.Errorf("killed with orphans: %q", states)
	}
	if r := s.run("kill"); r.code != 0 || !strings.Contains(r.stderr, "No container to kill") {
		t.Errorf("exit code %d: %s", r.code, r)
	}
}
