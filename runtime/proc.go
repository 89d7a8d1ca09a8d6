package runtime

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// startTime is field 22 of /proc/<pid>/stat: when the process started, in clock
// ticks since boot. Together with the pid it names one process for ever.
func startTime(pid int) (uint64, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, err
	}
	// The name in field 2 is in parentheses and may hold anything.
	f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(f) < 20 {
		return 0, fmt.Errorf("read start time of %d: malformed stat", pid)
	}
	return strconv.ParseUint(string(f[19]), 10, 64)
}

// openProcess returns a pidfd of the process that had this pid and start time,
// nil when it is gone.
func openProcess(pid int, start uint64) *os.File {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil
	}
	f := os.NewFile(uintptr(fd), "pidfd")
	// Read after the pidfd exists: if it matches now, the pidfd is of that process.
	if now, err := startTime(pid); err != nil || now != start {
		_ = f.Close()
		return nil
	}
	return f
}

// exited tells whether the process of a pidfd has ended.
func exited(pidfd *os.File) bool {
	fds := []unix.PollFd{{Fd: int32(pidfd.Fd()), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds, 0)
		if err != unix.EINTR {
			return err == nil && n > 0
		}
	}
}

func signalProcess(pidfd *os.File, sig syscall.Signal) error {
	if pidfd == nil {
		return ErrNotRunning
	}
	err := unix.PidfdSendSignal(int(pidfd.Fd()), sig, nil, 0)
	if err == unix.ESRCH {
		return ErrNotRunning
	}
	if err != nil {
		return fmt.Errorf("send %v: %w", sig, err)
	}
	return nil
}
