package server

import "time"

const (
	quickDeath    = time.Second            // an engine that lived shorter than this failed at its start
	quickRestarts = 3                      // so many of these in a row are restarted at once
	firstDelay    = 100 * time.Millisecond // then the delay doubles from here
	longestDelay  = 5 * time.Second        // up to here
)

// backoff decides how long to wait before a dead engine is started again.
type backoff struct {
	quick int // deaths in a row that came within quickDeath
}

// after returns the delay before the restart of an engine that had lived so long. One that was killed while it
// served has not failed by itself: that does not count.
func (b *backoff) after(lived time.Duration, killed bool) time.Duration {
	if killed {
		return 0
	}
	if lived >= quickDeath {
		b.quick = 0
		return 0
	}
	b.quick++
	if b.quick <= quickRestarts {
		return 0
	}
	delay := firstDelay
	for range b.quick - quickRestarts - 1 {
		if delay *= 2; delay >= longestDelay {
			return longestDelay
		}
	}
	return delay
}
