package runtime

import (
	"fmt"
	"os"
	goruntime "runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// initEnv keeps the Go runtime of init small and quick: no collector, one
// scheduler slot, no look at cgroups to find their number, no signals to
// preempt. It never reaches the container's program.
var initEnv = []string{"GOGC=off", "GOMAXPROCS=1", "GODEBUG=containermaxprocs=0,updatemaxprocs=0,asyncpreemptoff=1"}

// child is a process that was just cloned.
type child struct {
	pid   int
	pidfd *os.File
}

// spawnOptions say how to clone init.
type spawnOptions struct {
	files  []*os.File // 0, 1, 2 ... of the new process
	flags  uintptr    // CLONE_NEW* that only clone(2) can do
	pidNS  *os.File   // the pid namespace to be born in, nil for the engine's
	cgroup *os.File   // v2 folder to be born in, nil for the engine's

	uidMap, gidMap []syscall.SysProcIDMap // of a new user namespace; empty: none
	userNS         *os.File               // a user namespace to enter, nil for the engine's
	timeNS         *os.File               // a time namespace to enter, nil for the engine's
	timeOffsets    string                 // of a new time namespace, as in /proc/<pid>/timens_offsets
	newTime        bool
}

// raw tells whether forkRaw has to do it.
func (o *spawnOptions) raw() bool {
	return o.userNS != nil || o.timeNS != nil || (o.newTime && len(o.uidMap) == 0)
}

// spawn starts init from its memfd. Only what clone(2) alone can do happens
// while Go's fork lock is held; every other namespace is init's own work.
func (r *Runtime) spawn(o spawnOptions) (child, error) {
	if err := r.seal(); err != nil {
		return child{}, err
	}
	if o.pidNS == nil && !o.newTime {
		return r.forkAsNeeded(o)
	}
	type result struct {
		child child
		err   error
	}
	done := make(chan result)
	// Children are born in the namespace set on the calling thread. A thread that
	// cannot be set back must die: its goroutine ends while locked to it.
	go func() {
		goruntime.LockOSThread()
		if err := o.enter(); err != nil {
			done <- result{err: err}
			return
		}
		c, err := r.forkAsNeeded(o)
		if !o.newTime && unix.Setns(int(r.ownPidNS.Fd()), unix.CLONE_NEWPID) == nil {
			goruntime.UnlockOSThread()
		}
		done <- result{c, err}
	}()
	res := <-done
	return res.child, res.err
}

// enter makes children of the calling thread be born in the namespaces asked for.
func (o *spawnOptions) enter() error {
	if o.pidNS != nil {
		if err := unix.Setns(int(o.pidNS.Fd()), unix.CLONE_NEWPID); err != nil {
			return fmt.Errorf("enter pid namespace: %w", err)
		}
	}
	if !o.newTime {
		return nil
	}
	if err := unix.Unshare(unix.CLONE_NEWTIME); err != nil {
		return fmt.Errorf("make a time namespace: %w", err)
	}
	if o.timeOffsets == "" {
		return nil
	}
	// The file exists for processes only, but a thread's number names one too.
	file := "/proc/" + strconv.Itoa(unix.Gettid()) + "/timens_offsets"
	if err := os.WriteFile(file, []byte(o.timeOffsets), 0); err != nil {
		return fmt.Errorf("set the offsets of the time namespace: %w", err)
	}
	return nil
}

func (r *Runtime) forkAsNeeded(o spawnOptions) (child, error) {
	if o.raw() {
		return r.forkRaw(o)
	}
	return r.fork(o)
}

func (r *Runtime) fork(o spawnOptions) (child, error) {
	pidfd := -1
	attr := &syscall.ProcAttr{
		Dir: "/",
		Env: initEnv,
		Sys: &syscall.SysProcAttr{Setsid: true, Cloneflags: o.flags | r.cfg.Reaper.CloneFlags(), PidFD: &pidfd},
	}
	for _, f := range o.files {
		attr.Files = append(attr.Files, f.Fd())
	}
	if o.cgroup != nil {
		attr.Sys.UseCgroupFD, attr.Sys.CgroupFD = true, int(o.cgroup.Fd())
	}
	if len(o.uidMap) > 0 {
		attr.Sys.Cloneflags |= unix.CLONE_NEWUSER
		attr.Sys.UidMappings, attr.Sys.GidMappings, attr.Sys.GidMappingsEnableSetgroups = o.uidMap, o.gidMap, true
		attr.Sys.Credential = &syscall.Credential{NoSetGroups: true} // root of the new namespace
	}
	path, done, err := r.clearOf(attr.Files)
	if err != nil {
		return child{}, fmt.Errorf("clone init: %w", err)
	}
	defer done()
	pid, err := syscall.ForkExec(path, []string{"tutti-init"}, attr)
	goruntime.KeepAlive(o)
	if err != nil {
		return child{}, fmt.Errorf("clone init: %w", err)
	}
	if pidfd < 0 {
		return child{}, fmt.Errorf("clone init: the kernel gave no pidfd for %d", pid)
	}
	return child{pid: pid, pidfd: os.NewFile(uintptr(pidfd), "pidfd")}, nil
}

// clearOf returns a path of init's program whose descriptor the child still has when it comes to execute it. In the child,
// syscall.ForkExec uses the numbers right behind the highest of files for itself.
func (r *Runtime) clearOf(files []uintptr) (path string, done func(), err error) {
	highest := uintptr(len(files))
	for _, fd := range files {
		highest = max(highest, fd)
	}
	taken := highest + uintptr(len(files)) + 2 // a moved copy of each, and of its own pipe
	if own := r.init.Fd(); own <= highest || own > taken {
		return r.initPath, func() {}, nil
	}
	fd, err := unix.FcntlInt(r.init.Fd(), unix.F_DUPFD_CLOEXEC, int(taken)+1)
	if err != nil {
		return "", nil, os.NewSyscallError("fcntl", err)
	}
	return "/proc/self/fd/" + strconv.Itoa(fd), func() { _ = unix.Close(fd) }, nil
}

// procPath is the path of the memfd for the exec in a child, which has the same
// descriptor at that moment.
func procPath(f *os.File) string { return "/proc/self/fd/" + strconv.Itoa(int(f.Fd())) }
