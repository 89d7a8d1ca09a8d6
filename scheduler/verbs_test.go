package scheduler

import (
	"strings"
	"testing"

	"tutti/scheduler/container"
	"tutti/scheduler/engine"
	"tutti/scheduler/supervise"
)

func TestConditions(t *testing.T) {
	t.Parallel()
	with := &engine.Unit{Config: container.Config{Name: "c", Health: &supervise.HealthCheck{}}}
	without := &engine.Unit{Config: container.Config{Name: "c"}}
	healthy := &supervise.Health{Status: "healthy"}
	sick := &supervise.Health{Status: "unhealthy", Log: []supervise.ProbeResult{{Code: 7, Output: "cough\n"}}}
	tests := []struct {
		name  string
		check func(container.State) (bool, error)
		state container.State
		done  bool
		err   string
	}{
		{"healthy", isHealthy(with, false), container.State{Status: container.Running, Health: healthy}, true, ""},
		{"starting", isHealthy(with, false), container.State{Status: container.Running, Health: &supervise.Health{Status: "starting"}}, false, ""},
		{"unhealthy", isHealthy(with, false), container.State{Status: container.Running, Health: sick}, false, "unhealthy: the last probe ended with 7: cough"},
		{"exited", isHealthy(with, false), container.State{Status: container.Exited, ExitCode: 2}, false, "exited (2)"},
		{"no health check", isHealthy(without, false), container.State{Status: container.Running}, false, "no healthcheck"},
		{"--wait without health check", isHealthy(without, true), container.State{Status: container.Running}, true, ""},
		{"--wait for a job that ended well", isHealthy(without, true), container.State{Status: container.Exited}, true, ""},
		{"--wait for a job that failed", isHealthy(without, true), container.State{Status: container.Exited, ExitCode: 1}, false, "exited (1)"},
		{"completed", hasCompleted(without), container.State{Status: container.Exited}, true, ""},
		{"completes", hasCompleted(without), container.State{Status: container.Running}, false, ""},
		{"restarts", hasCompleted(without), container.State{Status: container.Restarting, ExitCode: 1}, false, ""},
		{"failed", hasCompleted(without), container.State{Status: container.Exited, ExitCode: 3}, false, "exit 3"},
	}
	for _, tt := range tests {
		done, err := tt.check(tt.state)
		if done != tt.done || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: got %v %v", tt.name, done, err)
		}
	}
}
