package supervise

import (
	"testing"
	"time"
)

func TestRestartPolicy(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		policy RestartPolicy
		exit   Exit
		after  time.Duration
		again  bool
	}{
		{"no policy", RestartPolicy{}, Exit{Code: 1}, 0, false},
		{"no", RestartPolicy{Name: "no"}, Exit{Code: 1}, 0, false},
		{"always, exit 0", RestartPolicy{Name: "always"}, Exit{}, 100 * time.Millisecond, true},
		{"always, stopped by the user", RestartPolicy{Name: "always"}, Exit{Stopped: true, Code: 143}, 0, false},
		{"back-off doubles", RestartPolicy{Name: "always"}, Exit{Delay: 400 * time.Millisecond, Ran: time.Second}, 800 * time.Millisecond, true},
		{"back-off is bounded", RestartPolicy{Name: "always"}, Exit{Delay: 50 * time.Second}, time.Minute, true},
		{"back-off starts again", RestartPolicy{Name: "always"}, Exit{Delay: 50 * time.Second, Ran: 11 * time.Second}, 100 * time.Millisecond, true},
		{"on-failure, exit 0", RestartPolicy{Name: "on-failure"}, Exit{}, 0, false},
		{"on-failure, exit 1", RestartPolicy{Name: "on-failure"}, Exit{Code: 1}, 100 * time.Millisecond, true},
		{"on-failure, retries left", RestartPolicy{Name: "on-failure", MaxRetries: 3}, Exit{Code: 1, Restarts: 2, Delay: 200 * time.Millisecond}, 400 * time.Millisecond, true},
		{"on-failure, no retries left", RestartPolicy{Name: "on-failure", MaxRetries: 3}, Exit{Code: 1, Restarts: 3}, 0, false},
		{"always, no retries left", RestartPolicy{Name: "always", MaxRetries: 2}, Exit{Code: 1, Restarts: 2}, 0, false},
		{"a restart that has succeeded does not count", RestartPolicy{Name: "on-failure", MaxRetries: 3, Window: time.Minute}, Exit{Code: 1, Restarts: 3, Ran: time.Minute, Delay: time.Second}, 100 * time.Millisecond, true},
		{"one that has not does", RestartPolicy{Name: "on-failure", MaxRetries: 3, Window: time.Minute}, Exit{Code: 1, Restarts: 3, Ran: 59 * time.Second}, 0, false},
		{"unhealthy is a failure, whatever the code", RestartPolicy{Name: "on-failure"}, Exit{Ending: Unwell}, 100 * time.Millisecond, true},
		{"unhealthy, backs off", RestartPolicy{Name: "on-failure"}, Exit{Ending: Unwell, Delay: time.Second, Ran: 5 * time.Second}, 2 * time.Second, true},
		{"unhealthy, no retries left", RestartPolicy{Name: "on-failure", MaxRetries: 1}, Exit{Ending: Unwell, Restarts: 1}, 0, false},
		{"unhealthy, without a policy", RestartPolicy{Name: "no"}, Exit{Ending: Unwell, Delay: time.Second}, 2 * time.Second, true},
		{"unhealthy, and stopped meanwhile", RestartPolicy{Name: "always"}, Exit{Ending: Unwell, Stopped: true}, 0, false},
		{"follows its dependency, without a policy", RestartPolicy{}, Exit{Ending: Follows}, 100 * time.Millisecond, true},
		{"follows a dependency that comes and goes", RestartPolicy{}, Exit{Ending: Follows, Delay: 100 * time.Millisecond, Ran: time.Second}, 200 * time.Millisecond, true},
		{"follows after it was stopped", RestartPolicy{Name: "always"}, Exit{Ending: Follows, Stopped: true}, 0, false},
		{"a delay of the user", RestartPolicy{Name: "always", Delay: 5 * time.Second}, Exit{Delay: 5 * time.Second}, 5 * time.Second, true},
	}
	for _, tt := range tests {
		after, again := tt.policy.Next(tt.exit)
		if after != tt.after || again != tt.again {
			t.Errorf("%s: got %v %v, want %v %v", tt.name, after, again, tt.after, tt.again)
		}
	}
}

func TestRestartAtBoot(t *testing.T) {
	t.Parallel()
	tests := []struct {
		policy         RestartPolicy
		stopped        bool
		code, restarts int
		want           bool
	}{
		{RestartPolicy{}, false, 1, 0, false},
		{RestartPolicy{Name: "always"}, true, 0, 0, true},
		{RestartPolicy{Name: "unless-stopped"}, true, 143, 0, false},
		{RestartPolicy{Name: "unless-stopped"}, false, 0, 0, true},
		{RestartPolicy{Name: "on-failure"}, false, 0, 0, false},
		{RestartPolicy{Name: "on-failure"}, false, 255, 0, true},
		{RestartPolicy{Name: "on-failure"}, true, 137, 0, false},
		{RestartPolicy{Name: "on-failure", MaxRetries: 2}, false, 1, 1, true},
		{RestartPolicy{Name: "on-failure", MaxRetries: 2}, false, 1, 2, false},
	}
	for _, tt := range tests {
		if got := tt.policy.AtBoot(tt.stopped, tt.code, tt.restarts); got != tt.want {
			t.Errorf("%+v stopped=%v code=%d restarts=%d: got %v", tt.policy, tt.stopped, tt.code, tt.restarts, got)
		}
	}
}
