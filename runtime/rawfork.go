package runtime

import (
	"errors"
	"fmt"
	"io"
	"os"
	goruntime "runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A process enters a user or time namespace only while it has a single thread
// (setns(2)). A Go program never has, but the copy that fork(2) makes of one has: it
// enters them and executes init at once. syscall.ForkExec cannot do that, and
// vfork(2), which it uses, could not (it shares memory, which keeps the time
// namespace). Copying this process's page tables costs some 0.1 ms.

// rawCall is all that the copy needs; it can allocate nothing.
type rawCall struct {
	flags      uintptr
	namespaces [2]uintptr // descriptors
	kinds      [2]uintptr // CLONE_NEW*; 0: none
	becomeRoot bool
	files      []uintptr // to become 0, 1, 2 ...; all higher than those numbers
	path       *byte
	argv, envp []*byte
	again      uintptr // flags to clone the copy with once more, after it has entered the namespaces; 0: not
	report     uintptr // a pipe for the failed step and its errno
	pidfd      int32
	noSignals  uint64
	result     [2]uintptr
}

// Steps of the copy, as it reports them.
const (
	rawNamespace = iota + 1
	rawSession
	rawFiles
	rawUser
	rawExec
	rawForked // no failure: the process is another one, cloned by the copy
)

var rawSteps = [...]string{
	rawNamespace: "enter the user or time namespace", rawSession: "start a session", rawFiles: "set descriptors",
	rawUser: "become root of the user namespace (it must map ID 0)", rawExec: "execute init",
}

// forkRaw is fork for a child that has to enter namespaces while it has one thread.
func (r *Runtime) forkRaw(o spawnOptions) (child, error) {
	c, release, err := r.newRawCall(&o)
	if err != nil {
		return child{}, fmt.Errorf("clone init: %w", err)
	}
	defer release()
	report, theirs, err := os.Pipe()
	if err != nil {
		return child{}, fmt.Errorf("clone init: %w", err)
	}
	defer report.Close() //nolint:errcheck // opened for reading
	c.report = theirs.Fd()

	syscall.ForkLock.Lock()
	goruntime.LockOSThread()
	pid, errno := c.fork()
	goruntime.UnlockOSThread()
	syscall.ForkLock.Unlock()
	_ = theirs.Close()
	goruntime.KeepAlive(o)
	if errno != 0 {
		return child{}, fmt.Errorf("clone init: %w", errno)
	}
	ch := child{pid: int(pid), pidfd: os.NewFile(uintptr(c.pidfd), "pidfd")}
	if err := ch.follow(report); err != nil {
		ch.collect()
		return child{}, fmt.Errorf("clone init: %w", err)
	}
	return ch, nil
}

// follow reads what the copy reports, until it executes init or fails.
func (ch *child) follow(report io.Reader) error {
	var b [2]uintptr
	buf := unsafe.Slice((*byte)(unsafe.Pointer(&b)), unsafe.Sizeof(b))
	for {
		if _, err := io.ReadFull(report, buf); err != nil {
			return nil // closed by execve
		}
		if b[0] != rawForked {
			return fmt.Errorf("%s: %w", rawSteps[b[0]], syscall.Errno(b[1]))
		}
		// The second copy is a child of the same parent: its number cannot be another's.
		fd, err := unix.PidfdOpen(int(b[1]), 0)
		if err != nil {
			return err
		}
		ch.collect()
		*ch = child{pid: int(b[1]), pidfd: os.NewFile(uintptr(fd), "pidfd")}
	}
}

// collect reaps a copy that nobody else knows of; where this process is not the
// parent, the parent does.
func (ch *child) collect() {
	var status unix.WaitStatus
	_, _ = unix.Wait4(ch.pid, &status, 0, nil)
	_ = ch.pidfd.Close()
}

func (r *Runtime) newRawCall(o *spawnOptions) (c *rawCall, release func(), err error) {
	c = &rawCall{flags: o.flags | r.cfg.Reaper.CloneFlags() | unix.CLONE_PIDFD}
	if r.cfg.Reaper.CloneFlags() == 0 {
		c.flags |= uintptr(unix.SIGCHLD)
	}
	// The time namespace first: joining it needs the rights of before.
	if o.timeNS != nil {
		c.namespaces[0], c.kinds[0] = o.timeNS.Fd(), unix.CLONE_NEWTIME
	}
	if o.userNS != nil {
		c.namespaces[1], c.kinds[1] = o.userNS.Fd(), unix.CLONE_NEWUSER
		c.becomeRoot = true
		if c.flags&unix.CLONE_NEWPID != 0 {
			// A pid namespace belongs to the user namespace that its first process is cloned in.
			c.flags &^= unix.CLONE_NEWPID
			c.again = unix.CLONE_NEWPID | unix.CLONE_PARENT
		}
	}
	release = func() {
		for _, fd := range c.files {
			_ = unix.Close(int(fd))
		}
	}
	for _, f := range o.files {
		fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, highFD+len(o.files))
		if err != nil {
			release()
			return nil, nil, err
		}
		c.files = append(c.files, uintptr(fd))
	}
	if c.path, err = syscall.BytePtrFromString(r.initPath); err == nil {
		c.argv, err = syscall.SlicePtrFromStrings([]string{"tutti-init"})
	}
	if err == nil {
		c.envp, err = syscall.SlicePtrFromStrings(initEnv)
	}
	if err != nil {
		release()
		return nil, nil, errors.New("malformed arguments")
	}
	return c, release, nil
}

// fork clones this process. No signal is delivered to the copy before it executes
// init: handlers are Go's.
//
//go:norace
//go:noinline
func (c *rawCall) fork() (pid uintptr, errno syscall.Errno) {
	all := ^uint64(0)
	var old uint64
	const setMask = 2 // SIG_SETMASK
	_, _, errno = syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, setMask,
		uintptr(unsafe.Pointer(&all)), uintptr(unsafe.Pointer(&old)), 8, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	pid, _, errno = syscall.RawSyscall6(unix.SYS_CLONE, c.flags, 0, uintptr(unsafe.Pointer(&c.pidfd)), 0, 0, 0)
	if errno == 0 && pid == 0 {
		c.inChild()
	}
	_, _, _ = syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, setMask, uintptr(unsafe.Pointer(&old)), 0, 8, 0, 0)
	return pid, errno
}

// inChild never returns. It must neither allocate nor grow the stack nor call
// anything but the kernel: other threads may have held locks when it was copied.
//
//go:norace
//go:nosplit
func (c *rawCall) inChild() {
	step, errno := c.becomeInit()
	c.result[0], c.result[1] = step, uintptr(errno)
	_, _, _ = syscall.RawSyscall(unix.SYS_WRITE, c.report, uintptr(unsafe.Pointer(&c.result)), unsafe.Sizeof(c.result))
	for {
		_, _, _ = syscall.RawSyscall(unix.SYS_EXIT_GROUP, 125, 0, 0)
	}
}

//go:norace
//go:nosplit
func (c *rawCall) becomeInit() (step uintptr, errno syscall.Errno) {
	for i := range c.namespaces {
		if c.kinds[i] == 0 {
			continue
		}
		if _, _, errno = syscall.RawSyscall(unix.SYS_SETNS, c.namespaces[i], c.kinds[i], 0); errno != 0 {
			return rawNamespace, errno
		}
	}
	if c.again != 0 {
		pid, _, errno := syscall.RawSyscall6(unix.SYS_CLONE, c.again, 0, 0, 0, 0, 0)
		if errno != 0 {
			return rawNamespace, errno
		}
		if pid != 0 {
			return rawForked, syscall.Errno(pid) // and ends
		}
	}
	if c.becomeRoot {
		_, _, errno = syscall.RawSyscall(unix.SYS_SETRESGID, 0, 0, 0)
		if errno == 0 {
			_, _, errno = syscall.RawSyscall(unix.SYS_SETRESUID, 0, 0, 0)
		}
		if errno != 0 {
			return rawUser, errno
		}
	}
	if _, _, errno = syscall.RawSyscall(unix.SYS_SETSID, 0, 0, 0); errno != 0 {
		return rawSession, errno
	}
	for i := 0; i < len(c.files); i++ {
		if _, _, errno = syscall.RawSyscall(unix.SYS_DUP3, c.files[i], uintptr(i), 0); errno != 0 {
			return rawFiles, errno
		}
	}
	_, _, _ = syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, 2, uintptr(unsafe.Pointer(&c.noSignals)), 0, 8, 0, 0)
	_, _, errno = syscall.RawSyscall(unix.SYS_EXECVE, uintptr(unsafe.Pointer(c.path)),
		uintptr(unsafe.Pointer(&c.argv[0])), uintptr(unsafe.Pointer(&c.envp[0])))
	return rawExec, errno
}
