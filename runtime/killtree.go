package runtime

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// killRounds bounds how often KillTree looks for processes that were started while it killed others.
const killRounds = 16

// dyingTime is how long a killed process is waited for, in milliseconds; one in the kernel may need longer.
const dyingTime = 100

// KillTree kills the process with everything that it has started: its session, of which Exec makes it the leader, and the
// children of those that live, whatever session they are in. A child that made itself a session of its own and whose
// parent had gone before is the container's now, and stays.
func (p *Process) KillTree() error {
	errs := []error{p.Kill(syscall.SIGKILL)}
	if errors.Is(errs[0], ErrNotRunning) {
		errs = nil
	}
	for range killRounds {
		pids, err := p.c.cg.Pids()
		if err != nil {
			return errors.Join(append(errs, fmt.Errorf("list the container's processes: %w", err))...)
		}
		if !killFamily(p.pid, pids) {
			return errors.Join(errs...)
		}
	}
	return errors.Join(append(errs, errors.New("a process starts others faster than they can be killed"))...)
}

// killFamily kills those of pids that belong to leader, and says whether there were any that lived.
func killFamily(leader int, pids []int) (found bool) {
	family := map[int]bool{leader: true}
	var members []*os.File // pidfds: a number may come to mean somebody else, they cannot
	for grown := true; grown; {
		grown = false
		for _, pid := range pids {
			if family[pid] {
				continue
			}
			fd, err := unix.PidfdOpen(pid, 0)
			if err != nil {
				continue // gone
			}
			member := os.NewFile(uintptr(fd), "pidfd")
			if parent, session, alive := kin(pid); alive && (session == leader || family[parent]) {
				family[pid], grown = true, true
				members = append(members, member)
				continue
			}
			_ = member.Close()
		}
	}
	for _, member := range members {
		if signalProcess(member, syscall.SIGKILL) == nil {
			found = true
			// It may take a moment, in which it must not be taken for another one.
			_, _ = unix.Poll([]unix.PollFd{{Fd: int32(member.Fd()), Events: unix.POLLIN}}, dyingTime) //nolint:gosec // a descriptor
		}
		_ = member.Close()
	}
	return found
}

// kin reads a process's parent and session, proc_pid_stat(5). A zombie does not live.
func kin(pid int) (parent, session int, alive bool) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, 0, false
	}
	f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(f) < 4 || f[0][0] == 'Z' || f[0][0] == 'X' {
		return 0, 0, false
	}
	parent, err1 := strconv.Atoi(string(f[1]))
	session, err2 := strconv.Atoi(string(f[3]))
	return parent, session, err1 == nil && err2 == nil
}
