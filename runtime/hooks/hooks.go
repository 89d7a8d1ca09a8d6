// Package hooks runs the hooks of an OCI runtime spec (config.md, "POSIX-platform
// Hooks"): the state of the container on standard input, an optional timeout. The
// engine's side and the init inside a container both use it, so it has no imports
// that would make init big.
package hooks

import (
	"errors"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxOutput bounds what an error quotes of a hook's output.
const maxOutput = 4096

// Hook is one program to run.
type Hook struct {
	Path    string // absolute, in the mount namespace of who runs it
	Args    []string
	Env     []string
	Timeout uint32 // seconds; 0: none
}

// Run runs the hook in dir with state (JSON) on its standard input and waits for
// it. The error of a hook that fails holds the end of its output.
func (h *Hook) Run(state []byte, dir string) error {
	in, err := memfd("hook-state")
	if err != nil {
		return err
	}
	defer unix.Close(in) //nolint:errcheck // memory
	if _, err := unix.Pwrite(in, state, 0); err != nil {
		return err
	}
	out, err := memfd("hook-output")
	if err != nil {
		return err
	}
	defer unix.Close(out) //nolint:errcheck // memory
	args := h.Args
	if len(args) == 0 {
		args = []string{h.Path}
	}
	pidfd := -1
	pid, err := syscall.ForkExec(h.Path, args, &syscall.ProcAttr{
		Dir: dir, Env: h.Env, Files: []uintptr{uintptr(in), uintptr(out), uintptr(out)},
		Sys: &syscall.SysProcAttr{PidFD: &pidfd, Setsid: true},
	})
	if err != nil {
		return err
	}
	defer unix.Close(pidfd) //nolint:errcheck // opened by the clone
	return h.wait(pid, pidfd, out)
}

// memfd makes an anonymous file: unlike a pipe it needs nobody at its other end.
func memfd(name string) (int, error) { return unix.MemfdCreate(name, unix.MFD_CLOEXEC) }

// wait collects the hook, killing it and what it started when its time is over.
func (h *Hook) wait(pid, pidfd, out int) error {
	late := !exitedWithin(pidfd, h.Timeout)
	if late {
		_ = unix.Kill(-pid, unix.SIGKILL)
	}
	var status unix.WaitStatus
	for {
		_, err := unix.Wait4(pid, &status, 0, nil)
		if err == nil {
			break
		}
		if err != unix.EINTR {
			return err
		}
	}
	switch {
	case late:
		return errors.New("it did not end within " + strconv.Itoa(int(h.Timeout)) + " s" + output(out))
	case status.Signaled():
		return errors.New("it was ended by signal " + strconv.Itoa(int(status.Signal())) + output(out))
	case status.ExitStatus() != 0:
		return errors.New("exit status " + strconv.Itoa(status.ExitStatus()) + output(out))
	}
	return nil
}

// exitedWithin waits until the process of pidfd ended; false after that many seconds.
func exitedWithin(pidfd int, seconds uint32) bool {
	if seconds == 0 {
		return true // wait4 waits
	}
	var begin, now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &begin)
	left := int64(seconds) * 1000
	for left > 0 {
		fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
		if n, err := unix.Poll(fds, int(min(left, 1<<30))); n > 0 || (err != nil && err != unix.EINTR) {
			return true
		}
		_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
		left = int64(seconds)*1000 - (now.Nano()-begin.Nano())/1e6
	}
	return false
}

// output is the end of what the hook printed, for an error.
func output(fd int) string {
	size, err := unix.Seek(fd, 0, unix.SEEK_END)
	if err != nil {
		return ""
	}
	b := make([]byte, min(size, maxOutput))
	n, err := unix.Pread(fd, b, size-int64(len(b)))
	if err != nil {
		return ""
	}
	if text := strings.TrimSpace(string(b[:n])); text != "" {
		return ": " + text
	}
	return ""
}
