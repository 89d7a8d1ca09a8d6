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
}

// spawn starts init from its memfd. Only what clone(2) alone can do happens
// while Go's fork lock is held; every other namespace is init's own work.
func (r *Runtime) spawn(o spawnOptions) (child, error) {
	if o.pidNS == nil {
		return r.fork(o)
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
		if err := unix.Setns(int(o.pidNS.Fd()), unix.CLONE_NEWPID); err != nil {
			goruntime.UnlockOSThread()
			done <- result{err: fmt.Errorf("enter pid namespace: %w", err)}
			return
		}
		c, err := r.fork(o)
		if unix.Setns(int(r.ownPidNS.Fd()), unix.CLONE_NEWPID) == nil {
			goruntime.UnlockOSThread()
		}
		done <- result{c, err}
	}()
	res := <-done
	return res.child, res.err
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
	pid, err := syscall.ForkExec(r.initPath, []string{"tutti-init"}, attr)
	goruntime.KeepAlive(o)
	if err != nil {
		return child{}, fmt.Errorf("clone init: %w", err)
	}
	if pidfd < 0 {
		return child{}, fmt.Errorf("clone init: the kernel gave no pidfd for %d", pid)
	}
	return child{pid: pid, pidfd: os.NewFile(uintptr(pidfd), "pidfd")}, nil
}

// procPath is the path of the memfd for the exec in a child, which has the same
// descriptor at that moment.
func procPath(f *os.File) string { return "/proc/self/fd/" + strconv.Itoa(int(f.Fd())) }
