// Package supervise keeps what `up` made true. Its policies are pure: they take the time and what happened, and say what
// to do; the loops run them against one container.
package supervise

import "time"

// Back-off between restarts, as dockerd's restart manager has it: 100 ms, doubled at every restart, at most a minute, and
// from the start again once the container has run for ten seconds.
const (
	firstDelay  = 100 * time.Millisecond
	longestWait = time.Minute
	settled     = 10 * time.Second
)

// RestartPolicy is a container's restart policy. Name is "no" (or empty), "always", "unless-stopped" or "on-failure";
// MaxRetries bounds on-failure, 0 is no bound. Delay, when set, replaces the back-off (deploy.restart_policy.delay).
type RestartPolicy struct {
	Name       string        `json:"name,omitempty"`
	MaxRetries int           `json:"maxRetries,omitempty"`
	Delay      time.Duration `json:"delay,omitempty"`
}

// Exit is what a restart decision depends on.
type Exit struct {
	Code     int
	Stopped  bool          // somebody asked for it: stop, kill or restart of the user
	Ran      time.Duration // how long the container had run
	Restarts int           // how often it has been restarted since the user started it
	Delay    time.Duration // the delay before this run, 0 for the first
}

// Next says whether a container that ended is to be started again, and after how long.
func (p RestartPolicy) Next(e Exit) (after time.Duration, again bool) {
	if e.Stopped {
		return 0, false
	}
	switch p.Name {
	case "always", "unless-stopped":
	case "on-failure":
		if e.Code == 0 || p.MaxRetries > 0 && e.Restarts >= p.MaxRetries {
			return 0, false
		}
	default:
		return 0, false
	}
	switch {
	case p.Delay > 0:
		return p.Delay, true
	case e.Delay == 0 || e.Ran >= settled:
		return firstDelay, true
	default:
		return min(2*e.Delay, longestWait), true
	}
}

// AtBoot says whether a container is started when the engine starts and finds it not running: the host was rebooted, or
// the container ended while nobody could restart it. Stopped is as in Exit, code the last exit code if known.
func (p RestartPolicy) AtBoot(stopped bool, code int) bool {
	switch p.Name {
	case "always":
		return true
	case "unless-stopped":
		return !stopped
	case "on-failure":
		return !stopped && code != 0
	default:
		return false
	}
}
