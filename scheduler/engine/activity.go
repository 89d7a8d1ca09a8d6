package engine

import (
	"sync"
	"time"
)

// activity counts what keeps the engine from going: requests, background work and containers that run or wait to be
// started again.
type activity struct {
	mu    sync.Mutex
	count int
	since time.Time     // when count became 0
	zero  chan struct{} // holds a token when count became 0
}

func newActivity() *activity {
	return &activity{since: time.Now(), zero: make(chan struct{}, 1)}
}

// begin counts one more; the returned function counts it off, once.
func (a *activity) begin() (end func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.count++
	var once sync.Once
	return func() {
		once.Do(func() {
			a.mu.Lock()
			defer a.mu.Unlock()
			if a.count--; a.count == 0 {
				a.since = time.Now()
				select {
				case a.zero <- struct{}{}:
				default:
				}
			}
		})
	}
}

// idleFor says how long nothing has happened; 0 when something does.
func (a *activity) idleFor() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.count > 0 {
		return 0
	}
	return time.Since(a.since)
}

// waitIdle returns when nothing has happened for the time linger, or done is closed.
func (a *activity) waitIdle(done <-chan struct{}, linger time.Duration) {
	for {
		idle := a.idleFor()
		if idle >= linger {
			return
		}
		var timer <-chan time.Time
		if idle > 0 {
			timer = time.After(linger - idle)
		}
		select {
		case <-done:
			return
		case <-a.zero:
		case <-timer:
		}
	}
}
