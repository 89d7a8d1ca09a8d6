package supervise

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestHealthFromProbes(t *testing.T) {
	t.Parallel()
	type probe struct {
		at   time.Duration
		code int
	}
	s := time.Second
	tests := []struct {
		name   string
		check  HealthCheck
		probes []probe
		want   string // how it is after the last probes
	}{
		{"first probe succeeds", HealthCheck{}, []probe{{0, 0}}, "healthy"},
		{"early failures do not count", HealthCheck{Interval: 2 * s, Retries: 2}, []probe{{0, 1}, {s / 2, 1}, {s, 1}}, "starting"},
		{"failures count where docker probes", HealthCheck{Interval: 2 * s, Retries: 2}, []probe{{0, 1}, {2 * s, 1}, {3 * s, 1}, {4 * s, 1}}, "starting,starting,starting,unhealthy"},
		{"start period covers failures", HealthCheck{Interval: s, StartPeriod: 10 * s, Retries: 1}, []probe{{0, 1}, {5 * s, 1}, {9 * s, 1}, {10 * s, 1}}, "starting,starting,starting,unhealthy"},
		{"after the start period docker's next probe counts", HealthCheck{Interval: 30 * s, StartPeriod: 10 * s, StartInterval: 4 * s, Retries: 1}, []probe{{4 * s, 1}, {8 * s, 1}, {11 * s, 1}, {12 * s, 1}}, "starting,starting,starting,unhealthy"},
		{"and then those of every interval", HealthCheck{Interval: 30 * s, StartPeriod: 10 * s, StartInterval: 4 * s, Retries: 2}, []probe{{4 * s, 1}, {8 * s, 1}, {12 * s, 1}, {41 * s, 1}, {42 * s, 1}}, "starting,starting,starting,unhealthy"},
		{"once healthy the start is over", HealthCheck{Interval: s, StartPeriod: 10 * s, Retries: 1}, []probe{{0, 0}, {s, 1}}, "healthy,unhealthy"},
		{"a success resets the streak", HealthCheck{Interval: s, Retries: 2}, []probe{{0, 0}, {s, 1}, {2 * s, 0}, {3 * s, 1}}, "healthy,healthy,healthy,healthy"},
		{"unhealthy recovers", HealthCheck{Interval: s, Retries: 1}, []probe{{s, 1}, {2 * s, 0}}, "unhealthy,healthy"},
		{"a timeout is a failure", HealthCheck{Interval: s, Retries: 1}, []probe{{s, -1}}, "unhealthy"},
	}
	for _, tt := range tests {
		h, got := tt.check.Begin(), []string{}
		for _, p := range tt.probes {
			h = tt.check.Next(h, ProbeResult{Code: p.code}, p.at, p.at)
			got = append(got, h.Status)
		}
		if all := strings.Join(got, ","); !strings.HasSuffix(all, tt.want) {
			t.Errorf("%s: got %s, want %s", tt.name, all, tt.want)
		}
	}
}

func TestHealthKeepsFiveResultsOf4KiB(t *testing.T) {
	t.Parallel()
	h := HealthCheck{}.Begin()
	for i := range 9 {
		h = HealthCheck{}.Next(h, ProbeResult{Code: i, Output: strings.Repeat("x", 5000)}, 0, 0)
	}
	if len(h.Log) != 5 || h.Log[4].Code != 8 || len(h.Log[0].Output) != 4096 {
		t.Errorf("kept %d results, last code %d, output of %d bytes", len(h.Log), h.Log[4].Code, len(h.Log[0].Output))
	}
}

func TestPauseBetweenProbes(t *testing.T) {
	t.Parallel()
	ms, s := time.Millisecond, time.Second
	tests := []struct {
		name   string
		check  HealthCheck
		health Health
		now    time.Duration
		cost   time.Duration
		crowd  int
		want   string // pauses after probe 1, 2, 3, 10
	}{
		{"while starting", HealthCheck{}, Health{Status: Starting, Due: 30 * s}, 0, ms / 10, 1, "10ms 20ms 40ms 40ms"},
		{"later it is less urgent", HealthCheck{}, Health{Status: Starting, Due: 30 * s}, 12 * s, ms, 1, "10ms 20ms 40ms 200ms"},
		{"but for a probe that costs nothing", HealthCheck{TCP: 80}, Health{Status: Starting, Due: 30 * s}, 4 * s, ms / 10, 1, "10ms 20ms 40ms 40ms"},
		{"a tenth of a processor", HealthCheck{}, Health{Status: Starting, Due: 30 * s}, 0, 6 * ms, 1, "10ms 20ms 40ms 60ms"},
		{"for all together", HealthCheck{}, Health{Status: Starting, Due: 30 * s}, 0, 3 * ms, 100, "3s 3s 3s 3s"},
		{"a probe that waits costs little", HealthCheck{}, Health{Status: Starting, Due: 30 * s}, 0, 9 * s, 1, "10ms 20ms 40ms 100ms"},
		{"never later than docker", HealthCheck{}, Health{Status: Starting, Due: 2 * s}, 1985 * ms, ms, 1, "10ms 15ms 15ms 15ms"},
		{"healthy", HealthCheck{Interval: 2 * s}, Health{Status: Healthy, Due: 12 * s}, 10 * s, ms, 1, "2s 2s 2s 2s"},
		{"unhealthy", HealthCheck{Interval: 2 * s}, Health{Status: Unhealthy, Due: 12 * s}, 10 * s, ms, 1, "2s 2s 2s 2s"},
	}
	for _, tt := range tests {
		var got []string
		for _, n := range []int{1, 2, 3, 10} {
			got = append(got, fmt.Sprint(tt.check.Pause(tt.health, n, tt.now, tt.cost, tt.crowd)))
		}
		if s := strings.Join(got, " "); s != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, s, tt.want)
		}
	}
}

// watched runs a health check against a service that becomes ready at some time, until it is ended; it returns when the
// health changed, and how many probes that took.
func watched(t *testing.T, check HealthCheck, ready, until time.Duration, nudge bool) (changes []string, probes int) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), until)
		defer cancel()
		start := time.Now()
		nudges := make(chan struct{}, 1)
		if nudge {
			time.AfterFunc(ready, func() { nudges <- struct{}{} })
		}
		last := Starting
		check.Watch(ctx, check.Begin(), 0, Prober{
			Crowd: func() int { return 1 },
			Nudge: nudges,
			Probe: func(context.Context) ProbeResult {
				probes++
				r := ProbeResult{Code: 1}
				if time.Since(start) >= ready {
					r.Code = 0
				}
				time.Sleep(3 * time.Millisecond)
				return r
			},
			Update: func(h Health) {
				if h.Status != last {
					last = h.Status
					changes = append(changes, fmt.Sprint(h.Status, " after ", time.Since(start).Round(time.Millisecond)))
				}
			},
		})
	})
	return changes, probes
}

// A service has to be found ready soon after it is, at a bounded number of probes, and unhealthy when docker would say so.
func TestWatchFindsReadiness(t *testing.T) {
	s := time.Second
	tests := []struct {
		name         string
		check        HealthCheck
		ready, until time.Duration
		nudge        bool
		want         string
		probes       int // at most
	}{
		{"ready at once", HealthCheck{}, 0, s, false, "healthy after 3ms", 1},
		{"ready soon", HealthCheck{}, 700 * time.Millisecond, 2 * s, false, "healthy after 727ms", 20},
		{"ready late", HealthCheck{}, 20 * s, 25 * s, false, "healthy after 20.219s", 190},
		{"ready late, and it tells", HealthCheck{}, 20 * s, 25 * s, true, "healthy after 20.003s", 190},
		{"never ready", HealthCheck{}, 1000 * s, 100 * s, false, "unhealthy after 1m30.009s", 280},
		{"never ready, short interval", HealthCheck{Interval: s, Retries: 2}, 1000 * s, 10 * s, false, "unhealthy after 2.006s", 60},
		{"never ready, with a start period", HealthCheck{Interval: s, StartPeriod: 5 * s, Retries: 2}, 1000 * s, 8 * s, false, "unhealthy after 6.006s", 120},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			changes, probes := watched(t, tt.check, tt.ready, tt.until, tt.nudge)
			if got := strings.Join(changes, ", "); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			if probes > tt.probes {
				t.Errorf("%d probes, at most %d expected", probes, tt.probes)
			}
		})
	}
}

func TestHealthCheckCommand(t *testing.T) {
	for _, c := range []struct {
		check HealthCheck
		want  []string
	}{
		{HealthCheck{Test: []string{"CMD", "a", "b c"}}, []string{"a", "b c"}},
		{HealthCheck{Test: []string{"CMD-SHELL", "a b"}}, []string{"/bin/sh", "-c", "a b"}},
		{HealthCheck{Test: []string{"CMD-SHELL", "a b"}, Shell: []string{"/bin/bash", "-ec"}}, []string{"/bin/bash", "-ec", "a b"}},
		{HealthCheck{Test: []string{"CMD", "a"}, Shell: []string{"/bin/bash"}}, []string{"a"}},
		{HealthCheck{Test: []string{"a", "b"}}, []string{"a", "b"}},
	} {
		if got := c.check.Command(); !slices.Equal(got, c.want) {
			t.Errorf("%+v: %q, want %q", c.check, got, c.want)
		}
	}
}
