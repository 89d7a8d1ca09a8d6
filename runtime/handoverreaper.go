package runtime

import (
	"context"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// HandoverReaper is a Reaper for processes that outlive this one, their parent: it
// collects none that it is not asked for, so that whoever is their parent next (a
// subreaper such as conmon, containerd's shim) learns how they ended.
type HandoverReaper struct {
	mu     sync.Mutex
	pidfds map[string]*os.File
	local  *LocalReaper // has those that were asked for
}

// NewHandoverReaper returns a Reaper that waits for children of this process only
// while somebody wants to know.
func NewHandoverReaper() *HandoverReaper {
	return &HandoverReaper{pidfds: map[string]*os.File{}, local: NewLocalReaper()}
}

// CloneFlags is 0: children of this process.
func (h *HandoverReaper) CloneFlags() uintptr { return 0 }

// Register notes the child.
func (h *HandoverReaper) Register(id string, pid int) error {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return fmt.Errorf("register %s: %w", id, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pidfds[id] = os.NewFile(uintptr(fd), "pidfd")
	return nil
}

// Wait collects the child.
func (h *HandoverReaper) Wait(ctx context.Context, id string) (ExitStatus, error) {
	h.mu.Lock()
	if pidfd := h.pidfds[id]; pidfd != nil {
		delete(h.pidfds, id)
		h.local.adopt(id, pidfd)
	}
	h.mu.Unlock()
	return h.local.Wait(ctx, id)
}

// Release forgets the process.
func (h *HandoverReaper) Release(id string) error {
	h.mu.Lock()
	pidfd := h.pidfds[id]
	delete(h.pidfds, id)
	h.mu.Unlock()
	if pidfd != nil {
		_ = pidfd.Close()
	}
	return h.local.Release(id)
}
