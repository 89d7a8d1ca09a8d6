package samples

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// started waits until a service has written "started" so many times, and not more often.
func (s *site) started(service string, want int) {
	s.t.Helper()
	eventually(s.t, commandTimeout, func() error {
		if got := strings.Count(s.must("logs", "--no-log-prefix", service), "started\n"); got != want {
			return fmt.Errorf("%s has started %d times, want %d", service, got, want)
		}
		return nil
	})
}

// killCommand kills the processes of the site's containers whose command line begins so.
func (s *site) killCommand(prefix string) {
	s.t.Helper()
	eventually(s.t, commandTimeout, func() error { // a shell may have to become it
		n := 0
		for _, p := range s.processes() {
			if strings.HasPrefix(p.cmdline, prefix) {
				err := syscall.Kill(p.pid, syscall.SIGKILL)
				if errors.Is(err, syscall.ESRCH) {
					continue // ended by itself
				}
				if err != nil {
					return err
				}
				n++
			}
		}
		if n == 0 {
			return fmt.Errorf("there is no process %q", prefix)
		}
		return nil
	})
}

// state waits until a service's `ps` line is so.
func (s *site) state(service, want string) {
	s.t.Helper()
	eventually(s.t, commandTimeout, func() error {
		if got := strings.TrimSpace(s.must("ps", "--all", "--format", "{{.State}} {{.Health}}", service)); got != want {
			return fmt.Errorf("%s is %q, want %q", service, got, want)
		}
		return nil
	})
}

// A dependency that crashes and comes back must take those with it that say `restart: true`, each once and only when its
// condition is met again, and nobody else.
func TestDependentsFollowARestart(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	s.write("compose.yaml", `
services:
  db:
    image: busybox:latest
    command: sh -c 'echo started; exec sleep 1001'
    restart: always
    volumes: ["./state:/state"]
    healthcheck: {test: test -f /state/ready, interval: 60s}
  web:
    image: busybox:latest
    command: sh -c 'echo started; exec sleep 1002'
    depends_on: {db: {condition: service_healthy, restart: true}}
    stop_grace_period: 0s
  proxy:
    image: busybox:latest
    command: sh -c 'echo started; exec sleep 1003'
    depends_on: {web: {condition: service_started, restart: true}}
    stop_grace_period: 0s
  other:
    image: busybox:latest
    command: sh -c 'echo started; exec sleep 1004'
    depends_on: {db: {condition: service_healthy}}
    restart: always
    stop_grace_period: 0s
`)
	s.write("state/ready", "")
	s.must("up", "-d")
	if err := os.Remove(filepath.Join(s.dir, "state/ready")); err != nil {
		t.Fatal(err)
	}
	s.killCommand("sleep 1001")
	s.started("db", 2)
	s.killCommand("sleep 1004") // it is to start again by its policy, and has to wait
	s.state("other", "restarting")
	s.started("web", 1) // nor does web do anything while db is not healthy
	s.write("state/ready", "")
	s.started("web", 2)
	s.started("proxy", 2)
	s.started("other", 2)
	s.must("restart", "-t", "0", "db") // by a command it is the plan that has web and proxy in it
	for service, n := range map[string]int{"db": 3, "web": 3, "proxy": 3, "other": 2} {
		s.started(service, n)
	}
	s.must("stop", "-t", "0")
	s.must("start", "db")
	s.started("db", 4)
	s.state("web", "exited")
	s.must("down", "-t", "0")
}

// reboot ends everything of the site at once, as a power cut does, and makes the next engine believe that the host was
// booted since.
func (s *site) reboot() {
	s.t.Helper()
	eventually(s.t, commandTimeout, func() error {
		left := s.processes()
		for _, p := range left {
			_ = syscall.Kill(p.pid, syscall.SIGKILL) // gone is as good
		}
		if len(left) > 0 {
			return fmt.Errorf("%d processes live", len(left))
		}
		return nil
	})
	if err := os.RemoveAll("/run/tutti-" + s.instance()); err != nil { // a tmpfs
		s.t.Fatal(err)
	}
	file := filepath.Join(s.root, "boot-id")
	if _, err := os.Stat(file); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("an earlier boot\n"), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// After a boot everything must come back that its policy says, in the order of the dependencies and under their conditions;
// what never becomes healthy must hold up only those that wait for it, and they must say so.
func TestBoot(t *testing.T) {
	t.Parallel()
	s := newBusyboxSite(t)
	say := func(name, then string) string {
		return fmt.Sprintf(`
    image: busybox:latest
    volumes: ["./state:/state"]
    stop_grace_period: 0s
    command: sh -c 'echo %s >> /state/order; echo started; %s'`, name, then)
	}
	s.write("compose.yaml", `
services:
  db:`+say("db", "sleep 0.3; touch /run/ready; exec sleep 1001")+`
    restart: always
    healthcheck: {test: test -f /run/ready}
    tmpfs: [/run]
  done:`+say("done", "exit 0")+`
  migrate:`+say("migrate", "test ! -f /state/slow || sleep 1002")+`
    depends_on: {db: {condition: service_healthy}}
  web:`+say("web", "exec sleep 1003")+`
    restart: unless-stopped
    depends_on: {db: {condition: service_healthy}, migrate: {condition: service_completed_successfully}, done: {condition: service_completed_successfully}}
  sick:`+say("sick", "exec sleep 1004")+`
    restart: always
    healthcheck: {test: test -f /state/well, interval: 100ms, retries: 1}
  patient:`+say("patient", "exec sleep 1005")+`
    restart: always
    depends_on: {sick: {condition: service_healthy}}
  stopped:`+say("stopped", "exec sleep 1006")+`
    restart: unless-stopped
  manual:`+say("manual", "exec sleep 1007")+`
`)
	s.write("state/well", "")
	s.must("up", "-d")
	s.must("stop", "-t", "0", "stopped")
	// The next run of the job is one that a power cut can interrupt.
	s.write("state/slow", "")
	up := s.start("up", "-d", "migrate")
	s.started("migrate", 2)
	s.reboot()
	up.wait()
	for _, file := range []string{"slow", "well", "order"} {
		if err := os.Remove(filepath.Join(s.dir, "state", file)); err != nil {
			t.Fatal(err)
		}
	}
	s.must("ls") // any command starts the engine
	s.state("web", "running")
	s.state("sick", "running unhealthy")
	s.state("patient", "restarting")
	s.state("manual", "exited")
	s.state("stopped", "exited")
	var order []string
	eventually(t, commandTimeout, func() error { // each says so itself
		if order = strings.Fields(s.onHost("cat " + s.dir + "/state/order")); len(order) < 4 {
			return fmt.Errorf("started were %v", order)
		}
		return nil
	})
	at := map[string]int{}
	for i, name := range order {
		if _, twice := at[name]; twice || name == "done" || name == "manual" || name == "stopped" {
			t.Errorf("started were %v", order)
		}
		at[name] = i
	}
	if len(order) != 4 || at["db"] > at["migrate"] || at["migrate"] > at["web"] {
		t.Errorf("started were %v", order)
	}
	eventually(t, commandTimeout, func() error {
		if log := readFile(t, filepath.Join(s.root, "engine.log")); !strings.Contains(log, "sick to be healthy") {
			return errors.New("the engine's log does not say what patient waits for:\n" + log)
		}
		return nil
	})
	s.write("state/well", "")
	s.state("patient", "running")
	s.must("down", "-t", "0")
}
