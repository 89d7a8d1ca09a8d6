package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// LocalReaper is a Reaper for processes whose parent is this process.
type LocalReaper struct {
	mu      sync.Mutex
	entries map[string]*reaped
}

// reaped is one registered process; status is set before done is closed.
type reaped struct {
	done   chan struct{}
	status ExitStatus
	err    error
}

// NewLocalReaper returns a Reaper that waits for children of this process.
func NewLocalReaper() *LocalReaper {
	return &LocalReaper{entries: map[string]*reaped{}}
}

// CloneFlags is 0: children of this process.
func (l *LocalReaper) CloneFlags() uintptr { return 0 }

// Register starts waiting for the child.
func (l *LocalReaper) Register(id string, pid int) error {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return fmt.Errorf("register %s: %w", id, err)
	}
	e := &reaped{done: make(chan struct{})}
	l.mu.Lock()
	_, taken := l.entries[id]
	if !taken {
		l.entries[id] = e
	}
	l.mu.Unlock()
	if taken {
		_ = unix.Close(fd)
		return fmt.Errorf("register %s: the id is taken", id)
	}
	// Ends with the child; whoever registers waits for e.done through Wait.
	go e.await(os.NewFile(uintptr(fd), "pidfd"))
	return nil
}

// adopt starts waiting for a child by its pidfd.
func (l *LocalReaper) adopt(id string, pidfd *os.File) {
	e := &reaped{done: make(chan struct{})}
	l.mu.Lock()
	l.entries[id] = e
	l.mu.Unlock()
	go e.await(pidfd) // as in Register
}

// await reaps the child. The runtime's poller does the waiting: no thread does.
func (e *reaped) await(pidfd *os.File) {
	defer close(e.done)
	defer pidfd.Close() //nolint:errcheck // nothing was written
	conn, err := pidfd.SyscallConn()
	if err != nil {
		e.err = err
		return
	}
	var info siginfo
	var werr error
	err = conn.Read(func(fd uintptr) bool {
		werr = waitid(fd, &info)
		return !errors.Is(werr, unix.EAGAIN)
	})
	if e.err = errors.Join(err, werr); e.err != nil {
		return
	}
	e.status = ExitStatus{Code: int(info.status), At: time.Now()}
	if info.code != cldExited {
		e.status.Signal = int(info.status)
		e.status.Code = 128 + e.status.Signal
	}
}

// Wait blocks until the process ended.
func (l *LocalReaper) Wait(ctx context.Context, id string) (ExitStatus, error) {
	l.mu.Lock()
	e := l.entries[id]
	l.mu.Unlock()
	if e == nil {
		return ExitStatus{}, fmt.Errorf("wait for %s: it is not registered", id)
	}
	select {
	case <-e.done:
		return e.status, e.err
	case <-ctx.Done():
		return ExitStatus{}, fmt.Errorf("wait for %s: %w", id, ctx.Err())
	}
}

// Release forgets the process.
func (l *LocalReaper) Release(id string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.entries, id)
	return nil
}

const (
	pPidfd    = 3 // P_PIDFD
	cldExited = 1 // CLD_EXITED
)

// siginfo is what waitid(2) fills of siginfo_t on 64-bit Linux.
type siginfo struct {
	signo, errno, code, _ int32
	pid, uid, status      int32
	_                     [100]byte
}

func waitid(fd uintptr, info *siginfo) error {
	for {
		_, _, errno := unix.Syscall6(unix.SYS_WAITID, pPidfd, fd, uintptr(unsafe.Pointer(info)), unix.WEXITED, 0, 0)
		if errno == 0 {
			return nil
		}
		if errno != unix.EINTR {
			return errno
		}
	}
}
