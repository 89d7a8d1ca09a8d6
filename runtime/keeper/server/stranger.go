package server

import (
	"bytes"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"tutti/runtime/keeper/wire"
)

// stranger is a running process that is no child of this keeper: its parent was a keeper that has died, and is now
// the machine's init, which reaps it and tells nobody. Its end is seen through two descriptors.
type stranger struct {
	pidfd int // readable when it has ended, pidfd_open(2)
	stat  int // its /proc/PID/stat, of which the last field is the exit status until it is reaped, proc_pid_stat(5)
}

// reapTime is how long the machine's init may take to reap a process whose exit status cannot be read before.
const reapTime = 200 * time.Millisecond

// inherit takes over what a dead keeper had from the engine that it left behind, until that engine hangs up, which it
// does by ending. Only then may another engine start. All of it is small and there already, or on its way.
func (k *keeper) inherit(legacy int) {
	k.conn = newConn(legacy)
	for k.conn.fd >= 0 {
		fds := []unix.PollFd{{Fd: int32(legacy), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, -1); err != nil && err != unix.EINTR {
			break
		}
		k.serveConn()
		k.conn.out = nil // nobody reads answers
	}
	k.conn.hangUp()
	say("took over " + strconv.Itoa(len(k.table.entries)) + " ids of a keeper that has died")
}

// adopt registers a process that is no child, with its pidfd, or the known end of one.
func (k *keeper) adopt(m wire.Message, fds []int) {
	end := status{code: m.Code, signal: m.Signal, at: m.At, unseen: m.State&wire.Unseen != 0}
	var s *stranger
	if m.State&wire.Exited == 0 {
		if len(fds) != 1 {
			closeAll(fds)
			k.conn.send(wire.Message{Op: wire.OpReply, ID: m.ID, Token: m.Token, Text: "the pidfd is missing"}, nil)
			return
		}
		s = &stranger{pidfd: fds[0], stat: openStat(int(m.PID))}
	} else {
		closeAll(fds)
	}
	err := k.table.adopt(m.ID, int(m.PID), m.Token, s, end)
	if err != nil && s != nil {
		s.close()
	}
	e := k.table.entries[m.ID]
	switch {
	case err != nil && err != errAgain:
		k.conn.send(wire.Message{Op: wire.OpReply, ID: m.ID, Token: m.Token, Text: err.Error()}, nil)
	case e.exited:
		k.tellExit(e)
	}
}

func openStat(pid int) int {
	fd, err := unix.Open("/proc/"+strconv.Itoa(pid)+"/stat", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1
	}
	return fd
}

func (s *stranger) close() {
	unix.Close(s.pidfd)
	if s.stat >= 0 {
		unix.Close(s.stat)
	}
}

// strangerEnded finds out how a process has ended that was adopted.
func (k *keeper) strangerEnded(e *entry) {
	s := e.stranger
	end := s.end(e.pid)
	if end.unseen {
		say("process " + strconv.Itoa(e.pid) + " of " + e.id + " ended, and nobody could see how")
	}
	k.table.strangerEnded(e, end)
	s.close()
	k.tellExit(e)
}

// end returns how the process ended: from /proc as long as it is a zombie, from its pidfd once it is reaped (Linux
// 6.15). Older kernels forget it at that moment.
func (s *stranger) end(pid int) status {
	for deadline := time.Now().Add(reapTime); ; {
		if ws, ok := s.zombie(pid); ok {
			return endOf(ws)
		}
		ws, known, reaped := exitInfo(s.pidfd)
		if known {
			return endOf(ws)
		}
		if reaped || time.Now().After(deadline) {
			return status{code: 255, at: time.Now().UnixNano(), unseen: true}
		}
		// It is being reaped: the zombie is gone, and its status not there yet.
		time.Sleep(time.Millisecond)
	}
}

// zombie reads the exit status of a process that nobody has reaped yet.
func (s *stranger) zombie(pid int) (ws unix.WaitStatus, ok bool) {
	if s.stat < 0 {
		return 0, false
	}
	var b [1024]byte
	n, err := unix.Pread(s.stat, b[:], 0)
	if err != nil || n == 0 {
		return 0, false // ESRCH: reaped
	}
	return parseStat(b[:n], pid)
}

// parseStat finds the exit status of process pid, field 52, in a line of /proc/PID/stat if field 3 says that it is a
// zombie, or about to be gone.
func parseStat(line []byte, pid int) (ws unix.WaitStatus, ok bool) {
	if !bytes.HasPrefix(line, []byte(strconv.Itoa(pid)+" (")) {
		return 0, false
	}
	// The name in field 2 is in parentheses and may hold anything.
	f := bytes.Fields(line[bytes.LastIndexByte(line, ')')+1:])
	if len(f) < 50 || f[0][0] != 'Z' && f[0][0] != 'X' {
		return 0, false
	}
	code, err := strconv.ParseUint(string(f[49]), 10, 32)
	if err != nil {
		return 0, false
	}
	return unix.WaitStatus(code), true
}

// pidfdInfo is struct pidfd_info in its first version, include/uapi/linux/pidfd.h.
type pidfdInfo struct {
	mask, cgroup uint64
	ids          [11]uint32
	exitCode     int32
}

const (
	pidfdGetInfo  = 3<<30 | 64<<16 | 0xff<<8 | 11 // PIDFD_GET_INFO: _IOWR(0xFF, 11, struct pidfd_info)
	pidfdInfoExit = 1 << 3                        // PIDFD_INFO_EXIT
)

// exitInfo asks a pidfd for the exit status of its process, which it has once that is reaped. reaped says that there
// is nothing to wait for: this kernel does not tell.
func exitInfo(pidfd int) (ws unix.WaitStatus, known, reaped bool) {
	info := pidfdInfo{mask: pidfdInfoExit}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(pidfd), pidfdGetInfo, uintptr(unsafe.Pointer(&info)))
	if errno != 0 {
		return 0, false, true // ENOTTY, EINVAL: before Linux 6.13; ESRCH: reaped, before 6.15
	}
	return unix.WaitStatus(info.exitCode), info.mask&pidfdInfoExit != 0, false
}
