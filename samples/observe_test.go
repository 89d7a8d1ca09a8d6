package samples

import (
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// stats must show a spinner that may use half a CPU, memory that is in use under its limit, a transfer of known size and the
// number of processes; top must show what ps shows on the host.
func TestStatsAndTop(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.write("compose.yaml", `
x-base: &base {image: "busybox:latest", init: true}
services:
  spinner: {<<: *base, command: "sh -c 'while :; do :; done'", cpus: 0.5}
  idle: {<<: *base, command: sleep 1000, network_mode: none}
  idler: {<<: *base, command: sleep 1000}
  memory:
    <<: *base
    command: sh -c 'dd if=/dev/zero of=/dev/shm/x bs=1M count=24 2>&- && echo ready; exec sleep 1000'
    mem_limit: 64m
  server: {<<: *base, command: "sh -c 'mkdir /www; dd if=/dev/zero of=/www/x bs=1M count=5 2>&-; exec httpd -f -h /www'"}
  many: {<<: *base, init: false, user: "1234", command: "sh -c 'sleep 1000 & sleep 1000 & wait'"}
  done: {<<: *base, command: "true"}
`)
	s.must("up", "-d")
	s.must("exec", "-T", "idler", "sh", "-c", "until wget -q -O /dev/null http://server/x; do sleep 0.1; done")
	eventually(t, commandTimeout, func() error {
		if log := s.must("logs", "--no-log-prefix", "memory"); log != "ready\n" {
			return fmt.Errorf("the logs are %q", log)
		}
		return nil
	})
	eventually(t, commandTimeout, func() error { // the shell has started both
		if table := s.must("top", "many"); strings.Count(table, "sleep 1000\n") != 2 {
			return errors.New(table)
		}
		return nil
	})
	rows := map[string]map[string]string{}
	for line := range strings.Lines(s.must("stats", "--no-stream", "--all", "--format", "json")) {
		var row map[string]string
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		rows[strings.TrimSuffix(strings.TrimPrefix(row["Name"], "project-"), "-1")] = row
	}
	between := func(service, column string, low, high float64) {
		t.Helper()
		text, _, _ := strings.Cut(rows[service][column], " / ")
		if v := size(t, text); v < low || v > high {
			t.Errorf("%s of %s is %q, want %g to %g", column, service, text, low, high)
		}
	}
	between("spinner", "CPUPerc", 1, 95) // a busy machine may give it less
	between("idle", "CPUPerc", 0, 2)
	between("memory", "MemUsage", 24<<20, 32<<20)
	between("memory", "MemPerc", 37, 50)
	between("idler", "NetIO", 5<<20, 8<<20)
	between("many", "PIDs", 3, 3)
	between("done", "PIDs", 0, 0)
	if _, limit, _ := strings.Cut(rows["memory"]["MemUsage"], " / "); limit != "64MiB" {
		t.Errorf("the limit is %s", limit)
	}
	if io := rows["idle"]["NetIO"]; io != "0B / 0B" {
		t.Errorf("without a network there is traffic: %s", io)
	}
	if table := s.must("stats", "--no-stream", "many"); !strings.HasPrefix(table, "CONTAINER ID   NAME             CPU %     MEM USAGE / LIMIT ") || strings.Count(table, "\n") != 2 {
		t.Errorf("the table is\n%s", table)
	}
	s.checkTop()
}

// checkTop compares top with ps on the host.
func (s *site) checkTop() {
	s.t.Helper()
	lines := strings.Split(strings.TrimSpace(s.must("top", "many")), "\n")
	if got := strings.Fields(lines[0]); strings.Join(got, " ") != "SERVICE # UID PID PPID C STIME TTY TIME CMD" || len(lines) != 4 {
		s.t.Fatalf("top prints %q", lines)
	}
	for _, line := range lines[1:] {
		fields := strings.Fields(line)
		out, err := exec.Command("ps", "-o", "uid=,ppid=,args=", "-p", fields[3]).Output()
		if err != nil {
			s.t.Fatal(err)
		}
		want := strings.Fields(string(out))
		if got := append([]string{fields[2], fields[4]}, fields[9:]...); !slices.Equal(got, want) {
			s.t.Errorf("top has %q, ps has %q", got, want)
		}
	}
	if out := s.must("top", "done"); out != "" {
		s.t.Errorf("top of a service that does not run prints %q", out)
	}
}

// size reads 12.5%, 1.2MiB, 5.24MB or 3.
func size(t *testing.T, text string) float64 {
	t.Helper()
	i := strings.IndexFunc(text, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
	unit := 1.0
	if i >= 0 {
		unit = map[string]float64{"%": 1, "B": 1, "kB": 1e3, "MB": 1e6, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}[text[i:]]
		text = text[:i]
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || unit == 0 {
		t.Fatalf("%q is no number", text)
	}
	return v * unit
}

// The live table must go on while containers and engines come and go.
func TestStatsFollow(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.write("compose.yaml", "services:\n  a: {image: 'busybox:latest', init: true, command: sleep 1000, scale: 1}\n")
	s.must("up", "-d")
	live := s.start("stats", "--format", "{{.Name}}.")
	live.until("project-a-1.")
	s.must("scale", "a=2")
	live.until("project-a-2.")
	if err := syscall.Kill(s.engine(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	s.must("scale", "a=3")
	live.until("project-a-3.")
	live.signal(syscall.SIGINT)
	if r := live.wait(); r.code != 130 {
		t.Errorf("exit code %d: %s", r.code, r)
	}
}

// The events of a whole life must be those of docker compose, live over the death of the engine, and afterwards with --since.
func TestEvents(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.write("compose.yaml", `
services:
  web:
    image: busybox:latest
    command: ["sh", "-c", "trap 'exit 3' TERM; trap : USR1; echo ready; while true; do sleep 0.1; done"]
    healthcheck: {test: "true", interval: 1h}
    volumes: ["data:/data"]
    labels: {tier: front}
  eater:
    image: busybox:latest
    command: tail /dev/zero
    mem_limit: 16m
volumes: {data: {}}
`)
	begun := time.Now()
	live := s.start("events", "--json", "--since", strconv.FormatInt(begun.Unix(), 10), "web")
	s.must("up", "-d", "--wait", "web")
	eventually(t, commandTimeout, func() error { // the traps are set
		if log := s.must("logs", "--no-log-prefix", "web"); log != "ready\n" {
			return errors.New("the log is " + log)
		}
		return nil
	})
	s.must("exec", "-T", "web", "echo", "hi")
	s.must("pause", "web")
	s.must("kill", "-s", "USR1", "web")
	s.must("restart", "-t", "60", "web")
	live.until(`"restart"`)
	s.healthyAgain()
	if err := syscall.Kill(s.engine(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	s.must("kill", "web")
	s.must("up", "-d", "eater")
	s.state("eater", "exited")
	s.must("down", "-v")
	live.until(`"destroy"`)
	live.signal(syscall.SIGINT)
	want := strings.Split(strings.TrimSpace(readFile(t, "testdata/events.txt")), "\n")
	if got := actions(t, live.wait().stdout, "web"); !slices.Equal(got, want) {
		t.Errorf("live there are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	since := strconv.FormatInt(begun.Unix(), 10)
	kept := s.must("events", "--json", "--since", since, "--until", "0s")
	if got := actions(t, kept, "web"); !slices.Equal(got, want) {
		t.Errorf("afterwards there are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if got, want := actions(t, kept, "eater"), []string{"create", "start", "oom", "die exitCode=137", "destroy"}; !slices.Equal(got, want) {
		t.Errorf("of eater there are %q, want %q", got, want)
	}
	lines := strings.Split(s.must("events", "--since", since, "--until", "0s", "web"), "\n")
	if first := lines[0]; !strings.Contains(first, " container create ") || !strings.HasSuffix(first, " (image=busybox:latest, name=project-web-1, tier=front)") {
		t.Errorf("the first line is %q", first)
	}
}

// healthyAgain waits until web is healthy.
func (s *site) healthyAgain() {
	s.t.Helper()
	s.state("web", "running healthy")
}

// actions are what happened to a service, in order, with the attributes that matter.
func actions(t *testing.T, output, service string) []string {
	t.Helper()
	var list []string
	for line := range strings.Lines(output) {
		var e struct {
			Action, Service, Type, ID string
			Attributes                map[string]string
			Time                      time.Time
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if e.Service != service {
			continue
		}
		if e.Type != "container" || len(e.ID) != 64 || e.Time.IsZero() || e.Attributes["image"] != "busybox:latest" {
			t.Errorf("an event lacks something: %s", line)
		}
		text := e.Action
		for _, a := range []string{"exitCode", "signal"} {
			if v, ok := e.Attributes[a]; ok {
				text += " " + a + "=" + v
			}
		}
		list = append(list, text)
	}
	return list
}
