// Package supervise keeps what `up` made true. Its policies are pure: they take the time and what happened, and say what
// to do; the loops run them against one container.
package supervise

import "time"

// Back-off between restarts, as dockerd's restart manager has it (moby, restartmanager/restartmanager.go): 100 ms, doubled
// at every restart, at most a minute, and from the start again once the container has run for ten seconds.
const (
	firstDelay  = 100 * time.Millisecond
	longestWait = time.Minute
	settled     = 10 * time.Second
)

// RestartPolicy is a container's restart policy. Name is "no" (or empty), "always", "unless-stopped" or "on-failure".
type RestartPolicy struct {
	Name string `json:"name,omitempty"`
	// MaxRetries bounds the restarts; 0 is no bound. docker has it for on-failure alone.
	MaxRetries int `json:"maxRetries,omitempty"`
	// Delay, when set, replaces the back-off (deploy.restart_policy.delay).
	Delay time.Duration `json:"delay,omitempty"`
	// Window is how long a container has to run for its restart to have succeeded: restarts before that are no longer
	// counted (deploy.restart_policy.window). 0: they always are.
	Window time.Duration `json:"window,omitempty"`
}

// Ending says why the engine itself ends a run of a container.
type Ending string

// The reasons to end a container that is to be started again. The zero value: it ended by itself, or by a command.
const (
	Unwell  Ending = "unhealthy"  // its health check failed: healthcheck.x-on-unhealthy
	Follows Ending = "dependency" // what it depends on was restarted: depends_on with restart: true
)

// Exit is what a restart decision depends on.
type Exit struct {
	Code     int
	Stopped  bool          // somebody asked for it: stop, kill or restart of the user
	Ending   Ending        // the engine asked for it
	Ran      time.Duration // how long the container had run
	Restarts int           // how often it has been restarted since the user started it
	Delay    time.Duration // the delay before this run, 0 for the first
}

// Next says whether a container that ended is to be started again, and after how long.
func (p RestartPolicy) Next(e Exit) (after time.Duration, again bool) {
	switch {
	case e.Stopped:
		return 0, false
	case e.Ending == Follows:
		return backOff(e), true
	case e.Ending == Unwell && (p.Name == "no" || p.Name == ""):
		return backOff(e), true // who has it restarted when it is unhealthy wants it restarted
	case e.Ending == Unwell && e.Code == 0:
		e.Code = 1
	}
	switch p.Name {
	case "always", "unless-stopped":
	case "on-failure":
		if e.Code == 0 {
			return 0, false
		}
	default:
		return 0, false
	}
	if p.exhausted(p.Counted(e.Restarts, e.Ran)) {
		return 0, false
	}
	if p.Delay > 0 {
		return p.Delay, true
	}
	return backOff(e), true
}

func (p RestartPolicy) exhausted(restarts int) bool {
	return p.MaxRetries > 0 && restarts >= p.MaxRetries
}

// Counted is how many of the restarts so far still count after a run of that length.
func (p RestartPolicy) Counted(restarts int, ran time.Duration) int {
	if p.Window > 0 && ran >= p.Window {
		return 0
	}
	return restarts
}

func backOff(e Exit) time.Duration {
	if e.Delay == 0 || e.Ran >= settled {
		return firstDelay
	}
	return min(2*e.Delay, longestWait)
}

// AtBoot says whether a container is started when the engine finds that it does not run although it was not its turn to
// decide: the host was rebooted, or the keeper died. Stopped and restarts are as in Exit, code is the last exit code.
func (p RestartPolicy) AtBoot(stopped bool, code, restarts int) bool {
	switch p.Name {
	case "always":
		return !p.exhausted(restarts)
	case "unless-stopped":
		return !stopped
	case "on-failure":
		return !stopped && code != 0 && !p.exhausted(restarts)
	default:
		return false
	}
}
