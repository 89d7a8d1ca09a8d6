package supervise

import (
	"context"
	"slices"
	"strings"
	"time"
)

// Defaults of a health check, as the Docker Engine documents them for HEALTHCHECK.
const (
	defaultInterval      = 30 * time.Second
	defaultTimeout       = 30 * time.Second
	defaultStartInterval = 5 * time.Second
	defaultRetries       = 3
	keptResults          = 5
	keptOutput           = 4096 // bytes
)

// Early probes, which find a service ready long before docker's first one. They come after 10, 20, 40 ms and then at that
// pace for as long as that is a sixtieth of the time since the start: the later a service becomes ready, the less does it
// matter to know it at once. All early probes together use about a tenth of one processor: see Pause.
const (
	firstPause   = 10 * time.Millisecond
	steadyPause  = 40 * time.Millisecond
	patience     = 60                    // a pause is at most this part of the time since the start
	costFactor   = 10                    // a pause is at least so many times what a probe takes
	longestCost  = 10 * time.Millisecond // a probe that takes longer waits for something, it does not compute
	quickProbes  = 3                     // after something has happened come so many probes whatever they cost
	smallCrowd   = 4                     // unless more containers than these are starting
	shortestWait = time.Millisecond
)

// The health of a container, in docker's words.
const (
	Starting  = "starting"
	Healthy   = "healthy"
	Unhealthy = "unhealthy"
)

// HealthCheck is a container's health check. Test is ["CMD", args...] or ["CMD-SHELL", line]; where HTTP or TCP is set it
// is the check instead. Zero durations and retries mean docker's defaults.
type HealthCheck struct {
	Test          []string      `json:"test,omitempty"`
	Shell         []string      `json:"shell,omitempty"` // runs the line of CMD-SHELL; empty: /bin/sh -c
	HTTP          *HTTPProbe    `json:"http,omitempty"`  // healthcheck.x-http
	TCP           uint16        `json:"tcp,omitempty"`   // healthcheck.x-tcp: a port
	Interval      time.Duration `json:"interval,omitempty"`
	Timeout       time.Duration `json:"timeout,omitempty"`
	StartPeriod   time.Duration `json:"startPeriod,omitempty"`
	StartInterval time.Duration `json:"startInterval,omitempty"`
	Retries       int           `json:"retries,omitempty"`
	// RestartUnhealthy restarts the container when it is unhealthy (healthcheck.x-on-unhealthy: restart).
	RestartUnhealthy bool `json:"restartUnhealthy,omitempty"`
}

// Command is the program that the test is, with its arguments. A line is given to the image's shell, as docker does it.
func (h *HealthCheck) Command() []string {
	switch h.Test[0] {
	case "CMD":
		return h.Test[1:]
	case "CMD-SHELL":
		shell := h.Shell
		if len(shell) == 0 {
			shell = []string{"/bin/sh", "-c"}
		}
		return append(slices.Clone(shell), strings.Join(h.Test[1:], " "))
	default:
		return h.Test
	}
}

// HTTPProbe is a request to the container itself, sent from inside its network namespace. It succeeds when the answer's
// status is in one of the ranges, or 200-399 when there is none. Redirects are not followed.
type HTTPProbe struct {
	URL      string            `json:"url"` // http or https; its host means the container itself
	Method   string            `json:"method"`
	Headers  map[string]string `json:"headers,omitempty"`
	Status   [][2]int          `json:"status,omitempty"`   // from, to
	Insecure bool              `json:"insecure,omitempty"` // any certificate will do
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
	Status string `json:"status"`
	Streak int    `json:"streak,omitempty"` // consecutive failures that count
	// Due is when docker would probe next, since the container's start. While it starts, a failure before that is only
	// ours, and does not count.
	Due time.Duration `json:"due,omitempty"`
	Log []ProbeResult `json:"log,omitempty"` // the last five
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
	set(&h.StartInterval, defaultStartInterval)
	if h.Retries == 0 {
		h.Retries = defaultRetries
	}
	return h
}

// regular is how long docker waits before its next probe (moby, daemon/health.go: monitor).
func (h HealthCheck) regular(status string, since time.Duration) time.Duration {
	if status == Starting && since < h.StartPeriod {
		return h.StartInterval
	}
	return h.Interval
}

// Begin is the health of a container that has just been started.
func (h HealthCheck) Begin() Health {
	h = h.withDefaults()
	return Health{Status: Starting, Due: h.regular(Starting, 0)}
}

// Next returns the health after the probe r, which began and ended so long after the container's start. Failures count
// from the end of the start period on, and where docker would have probed: a container is unhealthy when it would be with
// docker, however often it is probed.
func (h HealthCheck) Next(s Health, r ProbeResult, began, ended time.Duration) Health {
	h = h.withDefaults()
	if len(r.Output) > keptOutput {
		r.Output = r.Output[:keptOutput]
	}
	log := append(slices.Clip(s.Log), r)
	s.Log = log[max(0, len(log)-keptResults):]
	due := s.Status != Starting || began >= s.Due
	switch {
	case r.Code == 0:
		s.Status, s.Streak, due = Healthy, 0, true
	case due && (s.Status != Starting || began >= h.StartPeriod):
		if s.Streak++; s.Streak >= h.Retries {
			s.Status = Unhealthy
		}
	}
	if due {
		s.Due = ended + h.regular(s.Status, ended)
	}
	return s
}

// Pause is how long to wait before the next probe, now being the time since the container's start. Until the first success
// it grows with n, the number of probes since something happened, and with cost, what the last one took; crowd is how many
// containers are probed like this at the same time. It is never longer than docker's.
func (h HealthCheck) Pause(s Health, n int, now, cost time.Duration, crowd int) time.Duration {
	h = h.withDefaults()
	regular := max(s.Due-now, shortestWait)
	if s.Status != Starting {
		return regular
	}
	longest := steadyPause
	if h.HTTP == nil && h.TCP == 0 {
		longest = max(longest, now/patience)
	}
	pause := min(firstPause<<min(max(n-1, 0), 20), longest)
	if n > quickProbes || crowd > smallCrowd {
		pause = max(pause, costFactor*min(cost, longestCost)*time.Duration(max(crowd, 1)))
	}
	return min(pause, regular)
}

// Prober is what Watch needs of a container.
type Prober struct {
	// Probe runs the test once; its context ends after the timeout.
	Probe func(context.Context) ProbeResult
	// Update is told the health after every probe.
	Update func(Health)
	// Nudge has something to receive when the container may have become ready just now. Nil: nobody knows.
	Nudge <-chan struct{}
	// Crowd is how many containers are starting.
	Crowd func() int
}

// Watch probes until ctx is done: at once, often until the first success, then every interval. since is how long ago the
// container was started.
func (h HealthCheck) Watch(ctx context.Context, s Health, since time.Duration, p Prober) {
	start := time.Now().Add(-since)
	timeout := h.withDefaults().Timeout
	for n := 1; ; n++ {
		began := time.Since(start)
		pc, cancel := context.WithTimeout(ctx, timeout)
		r := p.Probe(pc)
		cancel()
		if ctx.Err() != nil {
			return
		}
		ended := time.Since(start)
		s = h.Next(s, r, began, ended)
		p.Update(s)
		nudge := p.Nudge
		if s.Status != Starting {
			nudge = nil
		}
		t := time.NewTimer(h.Pause(s, n, ended, ended-began, p.Crowd()))
		select {
		case <-ctx.Done():
		case <-nudge:
			n = 0
		case <-t.C:
		}
		t.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}
