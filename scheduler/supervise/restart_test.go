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
		policy  string
		stopped bool
		code    int
		want    bool
	}{
		{"", false, 1, false},
		{"always", true, 0, true},
		{"unless-stopped", true, 143, false},
		{"unless-stopped", false, 0, true},
		{"on-failure", false, 0, false},
		{"on-failure", false, 255, true},
		{"on-failure", true, 137, false},
	}
	for _, tt := range tests {
		if got := (RestartPolicy{Name: tt.policy}).AtBoot(tt.stopped, tt.code); got != tt.want {
			t.Errorf("%q stopped=%v code=%d: got %v", tt.policy, tt.stopped, tt.code, got)
		}
	}
}
