package supervise

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

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
		want   string
	}{
		{"first probe succeeds", HealthCheck{}, []probe{{0, 0}}, "healthy"},
		{"early failures do not count", HealthCheck{Interval: 2 * s, Retries: 2}, []probe{{0, 1}, {s / 2, 1}, {s, 1}}, "starting"},
		{"docker's own probes count", HealthCheck{Interval: 2 * s, Retries: 2}, []probe{{0, 1}, {2 * s, 1}, {4 * s, 1}}, "starting,starting,unhealthy"},
		{"start period covers failures", HealthCheck{Interval: s, StartPeriod: 10 * s, Retries: 1}, []probe{{0, 1}, {5 * s, 1}, {9 * s, 1}, {10 * s, 1}}, "starting,starting,starting,unhealthy"},
		{"once healthy the grace is over", HealthCheck{Interval: s, StartPeriod: 10 * s, Retries: 1}, []probe{{0, 0}, {s, 1}}, "healthy,unhealthy"},
		{"a success resets the streak", HealthCheck{Interval: s, Retries: 2}, []probe{{0, 0}, {s, 1}, {2 * s, 0}, {3 * s, 1}}, "healthy,healthy,healthy,healthy"},
		{"unhealthy recovers", HealthCheck{Interval: s, Retries: 1}, []probe{{s, 1}, {2 * s, 0}}, "unhealthy,healthy"},
		{"a timeout is a failure", HealthCheck{Interval: s, Retries: 1}, []probe{{s, -1}}, "unhealthy"},
	}
	for _, tt := range tests {
		h, got := Health{Status: Starting}, []string{}
		for _, p := range tt.probes {
			h = tt.check.Next(h, ProbeResult{Start: start.Add(p.at), End: start.Add(p.at), Code: p.code}, start)
			got = append(got, h.Status)
		}
		if all := strings.Join(got, ","); !strings.HasSuffix(all, tt.want) {
			t.Errorf("%s: got %s, want %s", tt.name, all, tt.want)
		}
	}
}

func TestHealthKeepsFiveResultsOf4KiB(t *testing.T) {
	t.Parallel()
	h := Health{Status: Starting}
	for i := range 9 {
		h = HealthCheck{}.Next(h, ProbeResult{Start: start, Code: i, Output: strings.Repeat("x", 5000)}, start)
	}
	if len(h.Log) != 5 || h.Log[4].Code != 8 || len(h.Log[0].Output) != 4096 {
		t.Errorf("kept %d results, last code %d, output of %d bytes", len(h.Log), h.Log[4].Code, len(h.Log[0].Output))
	}
}

func TestPauseBetweenProbes(t *testing.T) {
	t.Parallel()
	ms := time.Millisecond
	tests := []struct {
		name  string
		check HealthCheck
		state string
		since time.Duration
		want  string // pauses after probe 1, 2, 3, 10
	}{
		{"defaults while starting", HealthCheck{}, Starting, 0, "100ms 200ms 400ms 5s"},
		{"a short interval bounds the ramp", HealthCheck{Interval: 150 * ms}, Starting, 0, "100ms 150ms 150ms 150ms"},
		{"start interval of the user", HealthCheck{StartInterval: 300 * ms, StartPeriod: time.Minute}, Starting, 0, "300ms 300ms 300ms 300ms"},
		{"after the grace", HealthCheck{Interval: 2 * time.Second}, Starting, 2 * time.Second, "2s 2s 2s 2s"},
		{"healthy", HealthCheck{Interval: 2 * time.Second}, Healthy, 0, "2s 2s 2s 2s"},
	}
	for _, tt := range tests {
		var got []string
		for _, n := range []int{1, 2, 3, 10} {
			got = append(got, fmt.Sprint(tt.check.Pause(Health{Status: tt.state}, n, tt.since)))
		}
		if s := strings.Join(got, " "); s != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, s, tt.want)
		}
	}
}

func TestWatchProbesAtOnceAndUntilCancelled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	var seen []string
	n := 0
	HealthCheck{Interval: time.Hour, StartInterval: time.Millisecond}.Watch(ctx, Health{Status: Starting}, time.Now(), func(context.Context) ProbeResult {
		n++
		return ProbeResult{Start: time.Now(), Code: 3 - min(n, 3)}
	}, func(h Health) {
		if seen = append(seen, h.Status); h.Status == Healthy {
			cancel()
		}
	})
	if got := strings.Join(seen, " "); got != "starting starting healthy" {
		t.Errorf("got %s", got)
	}
}
