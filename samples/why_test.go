package samples

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"tutti/scheduler/api"
)

// why asks and reads the answer.
func (s *site) why(want int, services ...string) map[string]api.ServiceWhy {
	s.t.Helper()
	r := s.run(append([]string{"why", "--format", "json"}, services...)...)
	if r.code != want {
		s.t.Fatalf("exit code %d, want %d: %s", r.code, want, r)
	}
	var report api.Why
	if err := json.Unmarshal([]byte(r.stdout), &report); err != nil {
		s.t.Fatal(err)
	}
	all := map[string]api.ServiceWhy{}
	for _, w := range report.Services {
		all[w.Service] = w
	}
	return all
}

// Each way in which a container can end must be explained: by itself, out of memory, by a user, by a signal of somebody else,
// with a program that is not there, and again and again.
func TestWhyItEnded(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.write("compose.yaml", `
x-base: &base {image: "busybox:latest", command: "sleep 1000", init: true}
services:
  fine: *base
  job: {<<: *base, command: "true"}
  failing: {<<: *base, command: "sh -c 'echo no disk >&2; exit 3'"}
  eater: {<<: *base, init: false, command: "tail /dev/zero", mem_limit: 16m}
  stopped: *base
  stubborn: {<<: *base, init: false, command: "sh -c 'trap : TERM; while :; do sleep 1; done'"}
  victim: {<<: *base, init: false, command: "sleep 4242"}
  missing: {<<: *base, init: false, command: /no/such/program}
  looping: {<<: *base, command: "sh -c 'exit 7'", restart: "on-failure:2"}
  backoff: {<<: *base, command: "sh -c 'exit 8'", restart: always, deploy: {restart_policy: {condition: any, delay: 1h}}}
`)
	if r := s.run("up", "-d"); r.code != 1 || !strings.Contains(r.stderr, "/no/such/program") {
		t.Fatalf("exit code %d: %s", r.code, r)
	}
	s.must("stop", "-t", "60", "stopped")
	s.must("stop", "-t", "0", "fine")
	s.must("start", "fine")
	s.must("stop", "-t", "1", "stubborn")
	s.killCommand("sleep 4242")
	for service, state := range map[string]string{"job": "exited", "failing": "exited", "eater": "exited", "victim": "exited", "looping": "exited", "backoff": "restarting"} {
		s.state(service, state)
	}
	all := s.why(2)
	for service, want := range map[string]struct {
		verdict api.Verdict
		text    string
	}{
		"fine":     {api.VerdictOK, "running for"},
		"job":      {api.VerdictOK, "done: it ended with exit code 0"},
		"failing":  {api.VerdictFailed, "ended by itself with exit code 3"},
		"eater":    {api.VerdictFailed, "killed by the kernel for want of memory: its limit is 16MiB, it had 16MiB"},
		"stopped":  {api.VerdictStopped, "`stop`"},
		"stubborn": {api.VerdictStopped, "stopped by `stop`: it did not end within its grace period after SIGTERM and was killed"},
		"victim":   {api.VerdictFailed, "ended by SIGKILL, sent by"},
		"missing":  {api.VerdictFailed, "exec /no/such/program: no such file or directory"},
		"looping":  {api.VerdictFailed, "restart policy on-failure gave up after 2 restarts"},
		"backoff":  {api.VerdictFailed, "starts it again in "},
	} {
		if got := all[service]; got.Verdict != want.verdict || !strings.Contains(got.Summary, want.text) {
			t.Errorf("%s is %s: %q, want %s: %q", service, got.Verdict, got.Summary, want.verdict, want.text)
		}
	}
	if log := all["failing"].Containers[0].Log; len(log) != 1 || log[0].Text != "no disk" || log[0].Stream != "stderr" {
		t.Errorf("the log is %v", log)
	}
	if x := all["eater"].Containers[0].Exit; x == nil || x.Code != 137 || x.Signal != "SIGKILL" || x.OOM == nil || x.OOM.Limit != 16<<20 || x.OOM.Kills == 0 {
		t.Errorf("eater ended so: %+v", x)
	}
	if r := all["backoff"].Containers[0].Restart; r == nil || time.Until(r.Next) < 50*time.Minute {
		t.Errorf("the next attempt: %+v", r)
	}
	if f := all["missing"].Failure; f == nil || f.Verb != "up" || !strings.Contains(f.Text, "/no/such/program") {
		t.Errorf("the failure of up: %+v", f)
	}
	if r := s.run("why", "eater"); !strings.Contains(r.stdout, "eater  failed: killed by the kernel") || !strings.Contains(r.stdout, "limit 16MiB") {
		t.Errorf("as text: %s", r)
	}
	s.why(0, "fine", "job")
	if r := s.run("why", "nosuch"); r.code != 1 || !strings.Contains(r.stderr, "no such service: nosuch; the services are: backoff, ") {
		t.Errorf("exit code %d: %s", r.code, r)
	}
	s.must("down", "-t", "0")
	if r := s.run("why"); r.code != 1 || !strings.Contains(r.stderr, "no such project") {
		t.Errorf("exit code %d: %s", r.code, r)
	}
}

// What keeps a service from coming up must be named while it does and afterwards: the holder of its port, be it a process or a
// container, an image that is not there, a dependency that is not healthy yet and what its probe says.
func TestWhyItDoesNotStart(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.write("gate/.keep", "")
	s.write("compose.yaml", `
x-base: &base {image: "busybox:latest", command: "sleep 1000", init: true}
services:
  slow:
    <<: *base
    volumes: ["./gate:/gate"]
    healthcheck: {test: "echo the gate is shut; test -e /gate/open", interval: 50ms, start_period: 10m}
  waiting: {<<: *base, depends_on: {slow: {condition: service_healthy}}}
  free: {<<: *base, ports: ["8093:80"]}
  blocked: {<<: *base, ports: ["8094:80"], profiles: [more]}
  rival: {<<: *base, ports: ["8093:80"], profiles: [more]}
  imageless: {image: "127.0.0.1:1/nosuch:1", profiles: [more]}
`)
	up := s.start("up", "-d")
	eventually(t, commandTimeout, func() error {
		r := s.run("why", "waiting", "slow")
		if r.code != 3 || !strings.Contains(r.stdout, "waiting: wait for slow to be healthy, since") ||
			!strings.Contains(r.stdout, "depends on slow to be healthy: no (Up ") || !strings.Contains(r.stdout, "the gate is shut") {
			return fmt.Errorf("exit code %d: %s", r.code, r)
		}
		return nil
	})
	s.write("gate/open", "")
	if r := up.wait(); r.code != 0 {
		t.Fatalf("exit code %d: %s", r.code, r)
	}
	all := s.why(0, "waiting", "slow", "free")
	var path []string
	for _, p := range all["waiting"].Path {
		path = append(path, p.What)
	}
	if text := strings.Join(path, ", "); !strings.Contains(text, "start container project-slow-1, wait for slow to be healthy, start container project-waiting-1") {
		t.Errorf("the path is %s", text)
	}

	s.hold(8094)
	for _, service := range []string{"blocked", "rival", "imageless"} {
		if r := s.run("--profile", "more", "up", "-d", service); r.code != 1 {
			t.Errorf("exit code %d: %s", r.code, r)
		}
	}
	all = s.why(2, "blocked", "rival", "imageless", "free", "waiting")
	if path := all["waiting"].Path; len(path) == 0 {
		t.Error("a later up that failed has made the path of an earlier start forgotten")
	}
	if p := all["blocked"].Ports; len(p) != 1 || p[0].Port != "8094/tcp" || !strings.HasPrefix(p[0].Holder, fmt.Sprintf("process %d (", os.Getpid())) {
		t.Errorf("port 8094 is held by %+v", p)
	}
	if p := all["rival"].Ports; len(p) != 1 || p[0].Holder != "container project-free-1" || p[0].Service != "free" || p[0].Project != "project" {
		t.Errorf("port 8093 is held by %+v", p)
	}
	for _, service := range []string{"blocked", "rival", "imageless"} {
		if w := all[service]; w.Verdict != api.VerdictFailed || w.Failure == nil || w.Failure.Verb != "up" {
			t.Errorf("%s is %s: %s, %+v", service, w.Verdict, w.Summary, w.Failure)
		}
	}
	if w := all["imageless"]; !w.ImageMissing || w.Image != "127.0.0.1:1/nosuch:1" {
		t.Errorf("the image: %+v", w)
	}
	if err := syscall.Kill(s.engine(), syscall.SIGKILL); err != nil { // what is remembered must outlive the engine
		t.Fatal(err)
	}
	if w := s.why(2, "imageless")["imageless"]; w.Failure == nil || !strings.Contains(w.Failure.Text, "127.0.0.1:1/nosuch:1") {
		t.Errorf("a new engine knows of %+v", w.Failure)
	}
}

// hold listens on a port of the site's machine.
func (s *site) hold(port int) {
	s.t.Helper()
	var l net.Listener
	err := s.host.in(s.host.pid, func() (err error) {
		l, err = net.Listen("tcp4", fmt.Sprint("0.0.0.0:", port))
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			s.t.Error(err)
		}
	})
}
