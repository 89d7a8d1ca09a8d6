package main

import (
	"strconv"

	"golang.org/x/sys/unix"

	"tutti/runtime/wire"
)

func itoa(n int) string { return strconv.Itoa(n) }

// closeOnExecAll marks every descriptor from 3 on close-on-exec: whoever started
// the engine may have left it some that no container may see.
func closeOnExecAll() {
	if unix.CloseRange(wire.ControlFD, ^uint(0), unix.CLOSE_RANGE_CLOEXEC) == nil {
		return
	}
	// Before Linux 5.11.
	dir, err := unix.Open("/proc/self/fd", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		unix.Exit(exitSetup) // without /proc nothing else would work either
	}
	defer unix.Close(dir) //nolint:errcheck // opened for reading
	buf := make([]byte, 8192)
	for {
		n, err := unix.ReadDirent(dir, buf)
		if err != nil || n == 0 {
			return
		}
		_, _, names := unix.ParseDirent(buf[:n], -1, nil)
		for _, name := range names {
			if fd, err := strconv.Atoi(name); err == nil && fd >= wire.ControlFD {
				unix.CloseOnExec(fd)
			}
		}
	}
}
