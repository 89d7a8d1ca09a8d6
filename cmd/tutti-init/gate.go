package main

import (
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"tutti/runtime/wire"
)

// What enters a container stays outside of its pid namespace until there is nothing left to take from it: whoever may
// trace others in there (cap_add: SYS_PTRACE) sees only the copy that this process makes of itself at last, in the
// container's namespaces, with the program's own rights and no descriptor but the program's (CVE-2016-9962,
// CVE-2024-21626). The copy does nothing but execute the program.

// leap is all that the copy needs; it can allocate nothing.
type leap struct {
	paths       []*byte // to try in turn, as execvp(3) does
	argv, envp  []*byte
	first       uintptr // the first descriptor that is not the program's
	report      uintptr // where the errno of execve goes
	terminal    bool    // descriptor 0 becomes the controlling terminal
	filter      *unix.SockFprog
	filterFlags uintptr
	noSignals   uint64
	errno       [1]uint32
	pidfd       int32
}

// leave executes the program in a child of this process's parent, reports the child, and returns nil; this process is
// no longer needed then.
func (p *program) leave(c *control, preserved int) error {
	l, err := p.newLeap(preserved)
	if err != nil {
		return err
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return failed("make a pipe", err)
	}
	l.report = uintptr(pipe[1])
	all := ^uint64(0)
	// No handler of the Go runtime may run in the copy.
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, 2, uintptr(unsafe.Pointer(&all)), 0, 8, 0, 0)
	if errno != 0 {
		return failed("block signals", errno)
	}
	if p.NoNewPrivs && len(p.Filter) > 0 {
		// Loading it needs no rights then: the copy does, and the filter need allow nothing of this.
		l.filter = &unix.SockFprog{Len: uint16(len(p.Filter) / 8), Filter: (*unix.SockFilter)(unsafe.Pointer(&p.Filter[0]))}
		l.filterFlags = uintptr(p.FilterFlags)
		p.Filter = nil
	}
	if err := p.confine(); err != nil {
		return err
	}
	pid, errno := l.fork()
	if errno != 0 {
		return failed("clone the program's process", errno)
	}
	_ = unix.Close(pipe[1])
	oob := unix.UnixRights(int(l.pidfd))
	if err := c.send(wire.FrameEntered, []byte{byte(pid), byte(pid >> 8), byte(pid >> 16), byte(pid >> 24)}, oob); err != nil {
		return failed("report the program's process", err)
	}
	return p.outcome(pipe[0])
}

// outcome waits until the copy has become the program.
func (p *program) outcome(report int) error {
	var b [4]byte
	n, err := unix.Read(report, b[:])
	if err == nil && n == 0 {
		return nil // closed by execve
	}
	errno := err
	if n == len(b) {
		errno = syscall.Errno(uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24)
	}
	e := &stepError{step: "exec " + p.Args[0], err: errno, exec: true}
	if errno == unix.ENOENT && !strings.Contains(p.Args[0], "/") && p.Args[0] != "" {
		e.detail = notInPath
	}
	return e
}

func (p *program) newLeap(preserved int) (*leap, error) {
	l := &leap{first: uintptr(wire.ControlFD + preserved), terminal: p.Terminal}
	var paths []string
	_ = p.search(func(path string) error { // none is executed: all candidates are collected
		paths = append(paths, path)
		return unix.ENOENT
	})
	var err error
	for _, path := range paths {
		b, e := syscall.BytePtrFromString(path)
		if e != nil {
			return nil, failed("exec "+p.Args[0], e)
		}
		l.paths = append(l.paths, b)
	}
	if l.argv, err = syscall.SlicePtrFromStrings(p.Args); err == nil {
		l.envp, err = syscall.SlicePtrFromStrings(p.env)
	}
	if err != nil {
		return nil, failed("exec "+p.Args[0], err)
	}
	return l, nil
}

// fork copies this process. The parent of both is the same, the reaper.
//
//go:norace
//go:noinline
func (l *leap) fork() (pid uintptr, errno syscall.Errno) {
	pid, _, errno = syscall.RawSyscall6(unix.SYS_CLONE, unix.CLONE_PARENT|unix.CLONE_PIDFD, 0, uintptr(unsafe.Pointer(&l.pidfd)), 0, 0, 0)
	if errno == 0 && pid == 0 {
		l.land()
	}
	return pid, errno
}

// land never returns. It must neither allocate nor grow the stack nor call anything but the kernel.
//
//go:norace
//go:nosplit
func (l *leap) land() {
	l.errno[0] = uint32(l.become())
	_, _, _ = syscall.RawSyscall(unix.SYS_WRITE, l.first, uintptr(unsafe.Pointer(&l.errno)), 4)
	for {
		_, _, _ = syscall.RawSyscall(unix.SYS_EXIT_GROUP, exitSetup, 0, 0)
	}
}

//go:norace
//go:nosplit
func (l *leap) become() syscall.Errno {
	if _, _, errno := syscall.RawSyscall(unix.SYS_DUP3, l.report, l.first, unix.O_CLOEXEC); errno != 0 && l.report != l.first {
		return errno
	}
	if _, _, errno := syscall.RawSyscall(unix.SYS_CLOSE_RANGE, l.first+1, ^uintptr(0)>>32, 0); errno != 0 {
		return errno
	}
	if _, _, errno := syscall.RawSyscall(unix.SYS_SETSID, 0, 0, 0); errno != 0 {
		return errno
	}
	if l.terminal {
		if _, _, errno := syscall.RawSyscall(unix.SYS_IOCTL, 0, unix.TIOCSCTTY, 0); errno != 0 {
			return errno
		}
	}
	if _, _, errno := syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, 2, uintptr(unsafe.Pointer(&l.noSignals)), 0, 8, 0, 0); errno != 0 {
		return errno
	}
	if l.filter != nil {
		const setModeFilter = 1 // SECCOMP_SET_MODE_FILTER
		_, _, errno := syscall.RawSyscall(unix.SYS_SECCOMP, setModeFilter, l.filterFlags, uintptr(unsafe.Pointer(l.filter)))
		if errno != 0 {
			return errno
		}
	}
	result := unix.ENOENT
	for i := 0; i < len(l.paths); i++ {
		_, _, errno := syscall.RawSyscall(unix.SYS_EXECVE, uintptr(unsafe.Pointer(l.paths[i])),
			uintptr(unsafe.Pointer(&l.argv[0])), uintptr(unsafe.Pointer(&l.envp[0])))
		switch errno {
		case unix.ENOENT, unix.ENOTDIR:
			if len(l.paths) == 1 {
				return errno
			}
		case unix.EACCES:
			result = errno
		default:
			return errno
		}
	}
	return result
}
