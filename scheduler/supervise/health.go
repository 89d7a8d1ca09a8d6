package supervise

import (
	"context"
	"slices"
	"time"
)

// Defaults of a health check, as the Docker Engine documents them for HEALTHCHECK.
const (
	defaultInterval      = 30 * time.Second
	defaultTimeout       = 30 * time.Second
	defaultStartInterval = 5 * time.Second
	defaultRetries       = 3
	firstPause           = 100 * time.Millisecond // between the first probes, then doubled
	keptResults          = 5
	keptOutput           = 4096 // bytes
)

// The health of a container, in docker's words.
const (
	Starting  = "starting"
	Healthy   = "healthy"
	Unhealthy = "unhealthy"
)

// HealthCheck is a container's health check. Test is ["CMD", args...] or ["CMD-SHELL", line]; zero durations and retries
// mean docker's defaults.
type HealthCheck struct {
	Test          []string      `json:"test"`
	Interval      time.Duration `json:"interval,omitempty"`
	Timeout       time.Duration `json:"timeout,omitempty"`
	StartPeriod   time.Duration `json:"startPeriod,omitempty"`
	StartInterval time.Duration `json:"startInterval,omitempty"`
	Retries       int           `json:"retries,omitempty"`
}

// ProbeResult is one run of the test. Code 0 is healthy; -1 means that it timed out or could not run.
type ProbeResult struct {
	Start  time.Time `json:"start"`
	End    time.Time `json:"end"`
	Code   int       `json:"code"`
	Output string    `json:"output"` // at most 4 KiB
}

// Health is what the probes so far say.
type Health struct {
	Status string        `json:"status"`
	Streak int           `json:"streak,omitempty"` // consecutive failures that count
	Log    []ProbeResult `json:"log,omitempty"`    // the last five
}

// withDefaults fills what the user left out.
func (h HealthCheck) withDefaults() HealthCheck {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&h.Interval, defaultInterval)
	set(&h.Timeout, defaultTimeout)
	if h.Retries == 0 {
		h.Retries = defaultRetries
	}
	return h
}

// grace is how long after the start a failure does not count: the start period, and at least until the moment docker
// would probe for the first time, because the probes before that are ours and must not make a container unhealthy
// earlier than its user's numbers say.
func (h HealthCheck) grace() time.Duration { return max(h.StartPeriod, h.Interval) }

// Next returns the health after the probe r of a container that was started at started.
func (h HealthCheck) Next(s Health, r ProbeResult, started time.Time) Health {
	h = h.withDefaults()
	if len(r.Output) > keptOutput {
		r.Output = r.Output[:keptOutput]
	}
	log := append(slices.Clip(s.Log), r)
	s.Log = log[max(0, len(log)-keptResults):]
	switch {
	case r.Code == 0:
		s.Status, s.Streak = Healthy, 0
	case s.Status == Starting && r.Start.Sub(started) < h.grace():
	default:
		if s.Streak++; s.Streak >= h.Retries {
			s.Status = Unhealthy
		}
	}
	return s
}

// Pause is how long to wait before the next probe, after n probes. While a container starts it is probed often: every
// StartInterval where that is set, otherwise after 0.1 s, 0.2 s, 0.4 s ... up to docker's 5 s, and never less often than
// every Interval.
func (h HealthCheck) Pause(s Health, n int, sinceStart time.Duration) time.Duration {
	set := h.StartInterval
	h = h.withDefaults()
	if s.Status != Starting || sinceStart >= h.grace() {
		return h.Interval
	}
	if set > 0 {
		return min(set, h.Interval)
	}
	ramp := min(firstPause<<min(max(n-1, 0), 10), defaultStartInterval)
	return min(ramp, h.Interval)
}

// Watch probes until ctx is done. probe runs the test once, its context ends after the timeout; update is called after
// every probe with the new health and says whether to go on.
func (h HealthCheck) Watch(ctx context.Context, s Health, started time.Time, probe func(context.Context) ProbeResult, update func(Health)) {
	timeout := h.withDefaults().Timeout
	for n := 1; ; n++ {
		pc, cancel := context.WithTimeout(ctx, timeout)
		r := probe(pc)
		cancel()
		if ctx.Err() != nil {
			return
		}
		s = h.Next(s, r, started)
		update(s)
		t := time.NewTimer(h.Pause(s, n, time.Since(started)))
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
	}
}
