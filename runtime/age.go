package runtime

import (
	"time"

	"golang.org/x/sys/unix"
)

// userTicks is USER_HZ: /proc counts in hundredths of a second on all of Linux's 64-bit platforms, proc(5).
const userTicks = 100

// Age is how long ago the container's first process started, by a clock that nobody sets and that goes on while the host
// sleeps (CLOCK_BOOTTIME): right also after an engine's restart and over a jump of the wall clock. It counts on when the
// process has ended; 0 when it is not known.
func (c *Container) Age() time.Duration {
	var now unix.Timespec
	if c.state.StartTime == 0 || unix.ClockGettime(unix.CLOCK_BOOTTIME, &now) != nil {
		return 0
	}
	return max(time.Duration(now.Nano())-time.Duration(c.state.StartTime)*(time.Second/userTicks), 0)
}
