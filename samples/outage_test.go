package samples

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// outageReport is what samples/testdata/outage found.
type outageReport struct {
	Lines         int
	SlowestWrite  time.Duration
	Lookups       int
	FailedLookups []string
	SlowestLookup time.Duration
}

// outage is how a test of outages is run: strictly and alone by "make crash", among other tests with limits that a busy
// machine keeps too.
type outage struct {
	containers, kills int
	stall, recovery   time.Duration
}

func outageLimits() outage {
	if os.Getenv("TUTTI_CRASH_STRICT") != "" {
		return outage{containers: 100, kills: 20, stall: 100 * time.Millisecond, recovery: 200 * time.Millisecond}
	}
	return outage{containers: 8, kills: 4, stall: 20 * time.Second, recovery: 30 * time.Second}
}

// While the engine, or the keeper with it, is dead and until there is another: a container that writes 1 MB/s does not
// stall, no line of it is lost, no lookup fails that a resolver repeats, and the next engine answers soon.
func TestOutage(t *testing.T) {
	for _, victim := range []string{"engine", "keeper"} {
		t.Run(victim, func(t *testing.T) {
			o := outageLimits()
			s := newBusyboxSite(t)
			s.write("compose.yaml", fmt.Sprintf(`
name: outage
services:
  probe:
    image: busybox:latest
    command: /probe/probe /probe/report.json web
    volumes: ["./probe:/probe"]
    depends_on: [web]
  web:
    image: busybox:latest
    command: sh -c 'trap "exit 0" TERM; while :; do sleep 0.1; done'
  filler:
    image: busybox:latest
    command: sleep 10000
    stop_grace_period: 0s
    scale: %d
`, o.containers-2))
			s.buildProbe()
			s.must("up", "-d")
			var recoveries []time.Duration
			for range o.kills {
				recoveries = append(recoveries, s.recover(victim))
				time.Sleep(200 * time.Millisecond) // the probe measures
			}
			s.must("stop", "-t", "100", "probe") // it writes its report
			s.checkReport(o)
			slices.Sort(recoveries)
			t.Logf("%d containers, %s killed: another engine answers after %v (median of %d), %v at worst", o.containers, victim, recoveries[len(recoveries)/2], len(recoveries), recoveries[len(recoveries)-1])
			if median := recoveries[len(recoveries)/2]; median > o.recovery {
				t.Errorf("another engine answers after %v, %v is allowed", median, o.recovery)
			}
			s.must("down", "-t", "0")
		})
	}
}

// buildProbe builds samples/testdata/outage into the project.
func (s *site) buildProbe() {
	s.t.Helper()
	if err := os.MkdirAll(filepath.Join(s.dir, "probe"), 0o755); err != nil {
		s.t.Fatal(err)
	}
	build := exec.Command("go", "build", "-o", filepath.Join(s.dir, "probe", "probe"), "./testdata/outage")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		s.t.Fatalf("build the probe: %v\n%s", err, out)
	}
}

// checkReport compares what the probe found with the limits, and the log with what it wrote.
func (s *site) checkReport(o outage) {
	t := s.t
	t.Helper()
	b, err := os.ReadFile(filepath.Join(s.dir, "probe", "report.json"))
	if err != nil {
		t.Fatal(err)
	}
	var r outageReport
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d lines, slowest write %v; %d lookups, slowest %v", r.Lines, r.SlowestWrite, r.Lookups, r.SlowestLookup)
	if r.SlowestWrite > o.stall {
		t.Errorf("a write took %v, %v is allowed", r.SlowestWrite, o.stall)
	}
	if len(r.FailedLookups) > 0 {
		t.Errorf("of %d lookups failed: %v", r.Lookups, r.FailedLookups)
	}
	n := 0
	for line := range strings.Lines(s.must("logs", "--no-log-prefix", "--no-color", "probe")) {
		n++
		if want := fmt.Sprintf("%08d xxx", n); !strings.HasPrefix(line, want) || len(line) != 1024 {
			t.Fatalf("line %d of the log is %.40q", n, line)
		}
	}
	if n != r.Lines {
		t.Errorf("the log has %d lines, %d were written", n, r.Lines)
	}
}

// recover kills the engine, or its keeper, and returns how long it takes until another engine answers.
func (s *site) recover(victim string) time.Duration {
	s.t.Helper()
	before := s.enginePID()
	for _, m := range s.managers() {
		if m.role == victim {
			if err := syscall.Kill(m.pid, syscall.SIGKILL); err != nil {
				s.t.Fatal(err)
			}
		}
	}
	start := time.Now()
	for time.Since(start) < commandTimeout {
		if pid := s.enginePID(); pid != 0 && pid != before {
			return time.Since(start)
		}
		time.Sleep(time.Millisecond)
	}
	s.t.Fatalf("no engine %v after the %s was killed", commandTimeout, victim)
	return 0
}

// enginePID asks the engine for its process id; 0: none answers.
func (s *site) enginePID() int {
	socket := "/run/tutti-" + s.instance() + "/tutti.sock"
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
	resp, err := client.Get("http://tutti/tutti/v1/version")
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	var v struct{ Pid int }
	if err := json.NewDecoder(resp.Body).Decode(&v); err != nil {
		return 0
	}
	return v.Pid
}
