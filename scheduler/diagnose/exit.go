package diagnose

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-units"

	"tutti/scheduler/api"
	"tutti/scheduler/container"
)

// docker's and the shell's codes for a program that could not be executed, or was not found.
const (
	cannotExecute = 126
	notFound      = 127
	signalBase    = 128 // a shell reports 128+n for a program that signal n ended
)

// Exit explains how a run ended. name turns a signal's number into its name. It is nil for nil.
func Exit(e *container.Exit, name func(int) string) *api.Exit {
	if e == nil {
		return nil
	}
	x := &api.Exit{Code: e.Code, At: e.At, Ran: e.Ran, Lost: e.Lost, OOM: OOM(e.OOM), Cause: cause(e, name)}
	if e.Signal != 0 {
		x.Signal = name(e.Signal)
	}
	if e.Asked != nil {
		x.Asked = &api.Asked{By: e.Asked.By, Signal: name(e.Asked.Signal), At: e.Asked.At, Forced: e.Asked.Forced}
	}
	return x
}

// OOM is what is known of a want of memory, nil for nil.
func OOM(o *container.OOM) *api.OOM {
	if o == nil {
		return nil
	}
	return &api.OOM{Limit: o.Limit, Peak: o.Peak, Kills: o.Kills}
}

// cause says in words how a run ended.
func cause(e *container.Exit, name func(int) string) string {
	const sigkill = 9
	code := "exit code " + strconv.Itoa(e.Code)
	switch {
	case e.Lost:
		return "nobody saw how it ended: the host went down, or the keeper was killed (" + code + " stands for that)"
	case e.OOM != nil && e.Signal == sigkill && (e.Asked == nil || !e.Asked.Forced && e.Asked.Signal != sigkill):
		return "killed by the kernel for want of memory: " + memory(e.OOM)
	case e.OOM != nil && e.Signal == 0 && e.Code != 0:
		return fmt.Sprintf("ended with %s after the kernel had killed %s of it for want of memory: %s", code, processes(e.OOM.Kills), memory(e.OOM))
	case e.Asked != nil && e.Asked.Forced:
		return fmt.Sprintf("stopped by `%s`: it did not end within its grace period after %s and was killed", e.Asked.By, name(e.Asked.Signal))
	case e.Asked != nil && e.Signal == e.Asked.Signal:
		return fmt.Sprintf("ended by `%s` with %s", e.Asked.By, name(e.Signal))
	case e.Asked != nil && e.Signal == 0 && e.Asked.By != "kill":
		return fmt.Sprintf("stopped by `%s`: it ended with %s after %s", e.Asked.By, code, name(e.Asked.Signal))
	case e.Asked != nil && e.Signal == 0:
		return fmt.Sprintf("ended with %s after `kill` had sent %s", code, name(e.Asked.Signal))
	case e.Signal != 0:
		return signalled(e.Signal, name)
	}
	return byItself(e.Code, name)
}

// crashes are the signals by which the kernel ends a program for what it has done, signal(7).
var crashes = map[int]string{
	4: "it executed an illegal instruction", 5: "it ran into a trap", 6: "it aborted itself", 7: "it read memory that is not there (bus error)",
	8: "it divided by zero or the like", 11: "it used memory that is not its own (segmentation fault)", 31: "it made a system call that its seccomp profile forbids",
}

func signalled(n int, name func(int) string) string {
	if why, ok := crashes[n]; ok {
		return "crashed with " + name(n) + ": " + why
	}
	return "ended by " + name(n) + ", sent by a program inside it or by somebody on the host, not by tutti"
}

func byItself(code int, name func(int) string) string {
	switch {
	case code == 0:
		return "ended by itself, successfully"
	case code == notFound:
		return "ended by itself with exit code 127: a command that it wanted to run was not found"
	case code == cannotExecute:
		return "ended by itself with exit code 126: a command that it wanted to run could not be executed"
	case code > signalBase && code <= signalBase+64:
		return fmt.Sprintf("ended by itself with exit code %d: as a shell reports a program that %s ended", code, name(code-signalBase))
	}
	return "ended by itself with exit code " + strconv.Itoa(code)
}

func processes(n uint64) string {
	if n == 1 {
		return "a process"
	}
	return fmt.Sprintf("%d processes", n)
}

func memory(o *container.OOM) string {
	limit := "it has no limit, the host's memory was used up"
	if o.Limit > 0 {
		limit = "its limit is " + units.BytesSize(float64(o.Limit))
	}
	if o.Peak > 0 {
		limit += ", it had " + units.BytesSize(float64(o.Peak))
	}
	return limit
}

// Container judges a container: whether it is as it should be, and why. again is when the restart policy starts it the next
// time, zero for never.
func Container(s container.State, policy string, maxRetries int, again, now time.Time, name func(int) string) (api.Verdict, string) {
	ended := s.Ended()
	ago := func(t time.Time) string { return strings.ToLower(units.HumanDuration(now.Sub(t))) + " ago" }
	switch {
	case s.Status == container.Paused:
		return api.VerdictPaused, "paused: `unpause` lets it go on"
	case s.Status == container.Running:
		return running(s, now)
	case s.Status == container.Restarting:
		return api.VerdictFailed, fmt.Sprintf("%s; restart policy %s starts it again in %s", cause(ended, name), policy, until(again, now))
	case s.Error != "" && (s.ExitCode == notFound || s.ExitCode == cannotExecute):
		return api.VerdictFailed, fmt.Sprintf("could not be started (exit code %d): %s", s.ExitCode, s.Error)
	case s.Error != "":
		return api.VerdictFailed, "could not be started: " + s.Error
	case ended == nil:
		return api.VerdictStopped, "created, not started yet"
	case s.Stopped:
		return api.VerdictStopped, cause(ended, name) + ", " + ago(ended.At)
	case ended.Code == 0:
		return api.VerdictOK, "done: it ended with exit code 0, " + ago(ended.At)
	case policy == "on-failure" && maxRetries > 0 && s.Restarts >= maxRetries:
		return api.VerdictFailed, fmt.Sprintf("%s, %s; restart policy on-failure gave up after %d restarts", cause(ended, name), ago(ended.At), s.Restarts)
	}
	return api.VerdictFailed, cause(ended, name) + ", " + ago(ended.At)
}

func running(s container.State, now time.Time) (api.Verdict, string) {
	up := "running for " + strings.ToLower(units.HumanDuration(now.Sub(s.Started)))
	if s.Restarts > 0 {
		up += fmt.Sprintf(", restarted %d times", s.Restarts)
	}
	switch s.HealthStatus() {
	case "", "healthy":
		return api.VerdictOK, up
	case "starting":
		return api.VerdictWaiting, up + ", not healthy yet"
	}
	return api.VerdictFailed, up + ", but unhealthy"
}

// until is a time to come in words; 0 s when it has passed.
func until(t, now time.Time) string {
	return max(t.Sub(now), 0).Round(100 * time.Millisecond).String()
}

// Worst is the worse of two verdicts.
func Worst(a, b api.Verdict) api.Verdict {
	rank := map[api.Verdict]int{api.VerdictOK: 0, api.VerdictAbsent: 1, api.VerdictStopped: 2, api.VerdictPaused: 3, api.VerdictWaiting: 4, api.VerdictFailed: 5}
	if rank[b] > rank[a] {
		return b
	}
	return a
}
