package diagnose

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"tutti/scheduler/api"
	"tutti/scheduler/container"
	"tutti/scheduler/plan"
	"tutti/scheduler/supervise"
)

func name(n int) string {
	return map[int]string{9: "SIGKILL", 10: "SIGUSR1", 11: "SIGSEGV", 15: "SIGTERM"}[n]
}

func TestCause(t *testing.T) {
	t.Parallel()
	oom := &container.OOM{Limit: 16 << 20, Peak: 16 << 20, Kills: 2}
	asked := func(by string, signal int, forced bool) *container.Asked {
		return &container.Asked{By: by, Signal: signal, Forced: forced}
	}
	for _, tt := range []struct {
		exit container.Exit
		want string
	}{
		{container.Exit{}, "ended by itself, successfully"},
		{container.Exit{Code: 3}, "ended by itself with exit code 3"},
		{container.Exit{Code: 127}, "127: a command that it wanted to run was not found"},
		{container.Exit{Code: 126}, "126: a command that it wanted to run could not be executed"},
		{container.Exit{Code: 143}, "as a shell reports a program that SIGTERM ended"},
		{container.Exit{Code: 255, Lost: true}, "nobody saw how it ended"},
		{container.Exit{Code: 139, Signal: 11}, "crashed with SIGSEGV: it used memory that is not its own"},
		{container.Exit{Code: 137, Signal: 9}, "ended by SIGKILL, sent by a program inside it or by somebody on the host"},
		{container.Exit{Code: 137, Signal: 9, OOM: oom}, "killed by the kernel for want of memory: its limit is 16MiB, it had 16MiB"},
		{container.Exit{Code: 1, OOM: oom}, "exit code 1 after the kernel had killed 2 processes of it for want of memory"},
		{container.Exit{Code: 137, Signal: 9, OOM: &container.OOM{}}, "it has no limit, the host's memory was used up"},
		{container.Exit{Code: 143, Signal: 15, Asked: asked("down", 15, false)}, "ended by `down` with SIGTERM"},
		{container.Exit{Code: 137, Signal: 9, Asked: asked("stop", 15, true)}, "stopped by `stop`: it did not end within its grace period after SIGTERM and was killed"},
		{container.Exit{Code: 137, Signal: 9, OOM: oom, Asked: asked("kill", 9, false)}, "ended by `kill` with SIGKILL"},
		{container.Exit{Code: 3, Asked: asked("restart", 15, false)}, "stopped by `restart`: it ended with exit code 3 after SIGTERM"},
		{container.Exit{Code: 3, Asked: asked("kill", 10, false)}, "ended with exit code 3 after `kill` had sent SIGUSR1"},
	} {
		if got := Exit(&tt.exit, name).Cause; !strings.Contains(got, tt.want) {
			t.Errorf("%+v: %q, want %q", tt.exit, got, tt.want)
		}
	}
}

func TestContainer(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 20, 12, 0, 0, 0, time.UTC)
	ran := func(s container.State) container.State {
		s.Started, s.Finished = now.Add(-time.Hour), now.Add(-time.Minute)
		return s
	}
	health := func(status string) container.State {
		return container.State{Status: container.Running, Started: now.Add(-time.Minute), Health: &supervise.Health{Status: status}}
	}
	for _, tt := range []struct {
		state   container.State
		policy  string
		max     int
		verdict api.Verdict
		want    string
	}{
		{health("healthy"), "", 0, api.VerdictOK, "running for about a minute"},
		{health("starting"), "", 0, api.VerdictWaiting, "not healthy yet"},
		{health("unhealthy"), "", 0, api.VerdictFailed, "but unhealthy"},
		{container.State{Status: container.Paused}, "", 0, api.VerdictPaused, "unpause"},
		{container.State{Status: container.Created}, "", 0, api.VerdictStopped, "created, not started yet"},
		{container.State{Status: container.Created, Error: "exec /x: no such file", ExitCode: 127}, "", 0, api.VerdictFailed, "(exit code 127): exec /x"},
		{ran(container.State{Status: container.Exited}), "", 0, api.VerdictOK, "done: it ended with exit code 0, about a minute ago"},
		{ran(container.State{Status: container.Exited, ExitCode: 3}), "", 0, api.VerdictFailed, "exit code 3, about a minute ago"},
		{ran(container.State{Status: container.Exited, ExitCode: 3, Restarts: 2}), "on-failure", 2, api.VerdictFailed, "gave up after 2 restarts"},
		{ran(container.State{Status: container.Exited, ExitCode: 143, Stopped: true, Asked: &container.Asked{By: "stop", Signal: 15}}), "always", 0, api.VerdictStopped, "stopped by `stop`"},
		{ran(container.State{Status: container.Restarting, ExitCode: 1}), "always", 0, api.VerdictFailed, "restart policy always starts it again in 1.5s"},
	} {
		verdict, text := Container(tt.state, tt.policy, tt.max, now.Add(1500*time.Millisecond), now, name)
		if verdict != tt.verdict || !strings.Contains(text, tt.want) {
			t.Errorf("%+v: %s %q, want %s %q", tt.state, verdict, text, tt.verdict, tt.want)
		}
	}
}

// The path must follow what ended last, through waits, and leave out what took no time.
func TestCriticalPath(t *testing.T) {
	t.Parallel()
	begin := time.Date(2026, 5, 20, 12, 0, 0, 0, time.UTC)
	step := func(op plan.Op, from, to int, after ...string) Step {
		op.After = after
		return Step{Op: op, Began: begin.Add(time.Duration(from) * time.Millisecond), Ended: begin.Add(time.Duration(to) * time.Millisecond)}
	}
	steps := []Step{
		step(plan.Op{ID: "net", Kind: plan.CreateNetwork, Resource: "n"}, 0, 0),
		step(plan.Op{ID: "pull", Kind: plan.PullImage, Resource: "db:1"}, 0, 2000),
		step(plan.Op{ID: "db", Kind: plan.CreateContainer, Service: "db", Container: "db-1"}, 2000, 2010, "net", "pull"),
		step(plan.Op{ID: "db start", Kind: plan.StartContainer, Service: "db", Container: "db-1"}, 2010, 2050, "db"),
		step(plan.Op{ID: "web", Kind: plan.CreateContainer, Service: "web", Container: "web-1"}, 0, 30, "net"),
		step(plan.Op{ID: "wait", Kind: plan.AwaitCondition, Service: "db", For: "web", Condition: plan.Healthy}, 2050, 5050, "db start"),
		step(plan.Op{ID: "web start", Kind: plan.StartContainer, Service: "web", Container: "web-1"}, 5050, 5100, "web", "wait"),
	}
	show := func(service string) string {
		var parts []string
		for _, p := range CriticalPath(steps, service) {
			parts = append(parts, fmt.Sprintf("%s %s", p.Took, p.What))
		}
		return strings.Join(parts, "; ")
	}
	if got, want := show("web"), "2s pull image db:1; 10ms create container db-1; 40ms start container db-1; 3s wait for db to be healthy; 50ms start container web-1"; got != want {
		t.Errorf("web: %s\nwant %s", got, want)
	}
	steps = steps[:6]
	steps[5].Failed = true
	if got := show("web"); !strings.HasSuffix(got, "3s wait for db to be healthy, which failed") {
		t.Errorf("a wait that failed: %s", got)
	}
	if got := show("nobody"); got != "" {
		t.Errorf("a service without steps: %s", got)
	}
}
