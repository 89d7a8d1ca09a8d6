package engine

import (
	"testing"
	"time"
)

// TestRanFor: the restart policy must not take a run for long, or for short, because somebody has set the clock.
func TestRanFor(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name            string
		wall, age, want time.Duration
	}{
		{"an ordinary run", 5 * time.Second, 5*time.Second + time.Millisecond, 5 * time.Second},
		{"it ended while there was no engine", 5 * time.Second, time.Minute, 5 * time.Second},
		{"the clock was set forward", 24 * time.Hour, 5 * time.Second, 5 * time.Second},
		{"the clock was set back", -24 * time.Hour, 5 * time.Second, 5 * time.Second},
		{"set back, and no process to ask", -24 * time.Hour, 0, 0},
		{"no process to ask", 3 * time.Second, 0, 3 * time.Second},
	} {
		if got := ranFor(tt.wall, tt.age); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}
