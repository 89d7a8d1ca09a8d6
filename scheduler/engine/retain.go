package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tutti/runtime"
	"tutti/runtime/keeper"
)

// retainer is the keeper as the runtime sees it, but that it remembers the end of a process until the disk does: the
// deletion of a container comes before its new record, so that whoever is woken by that can start it again.
type retainer struct {
	*keeper.Client

	mu  sync.Mutex
	ids map[string]bool
}

func newRetainer(k *keeper.Client) *retainer { return &retainer{Client: k, ids: map[string]bool{}} }

// retain makes Release of id do nothing, until drop.
func (r *retainer) retain(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ids[id] = true
}

// drop releases id.
func (r *retainer) drop(id string) error {
	r.mu.Lock()
	delete(r.ids, id)
	r.mu.Unlock()
	return r.Client.Release(id)
}

// Release implements runtime.Reaper.
func (r *retainer) Release(id string) error {
	r.mu.Lock()
	retained := r.ids[id]
	r.mu.Unlock()
	if retained {
		return nil
	}
	return r.Client.Release(id)
}

// diskTrouble says whether a file could not be written for a reason that passes: the disk is full, or the file system has
// become read-only.
func diskTrouble(err error) bool {
	for _, errno := range []syscall.Errno{unix.ENOSPC, unix.EDQUOT, unix.EROFS, unix.EIO} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// save writes down a state that could not be written when it came about. It does nothing when there is none.
func (u *Unit) save() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.unsaved || u.removed {
		return nil
	}
	if err := u.write(u.state); err != nil {
		return err
	}
	u.unsaved = false
	return nil
}

func (u *Unit) isUnsaved() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.unsaved && !u.removed
}

// saved lets the keeper forget a run whose end the disk knows now.
func (e *Engine) saved(u *Unit) {
	e.reaper.mu.Lock()
	retained := e.reaper.ids[u.ID]
	e.reaper.mu.Unlock()
	if !retained {
		return
	}
	if err := e.reaper.drop(u.ID); err != nil {
		e.Log.Error("release what the keeper held", "container", u.Name(), "error", err)
	}
}

// recorded makes sure before a start that the end of the run before is on the disk.
func (s *starter) recorded(context.Context) error {
	if err := s.u.save(); err != nil {
		return fmt.Errorf("record how it ended before: %w", err)
	}
	s.e.saved(s.u)
	return nil
}

// keptTime bounds the question for an exit that the keeper has, which it answers at once.
const keptTime = time.Second

// keptExit asks for the end of a container that the engine before this one had deleted, but not yet recorded.
func (e *Engine) keptExit(ctx context.Context, id string) (runtime.ExitStatus, bool) {
	if _, known := e.keeper.PID(id); !known {
		return runtime.ExitStatus{}, false
	}
	ctx, cancel := context.WithTimeout(ctx, keptTime)
	defer cancel()
	status, err := e.keeper.Wait(ctx, id)
	return status, err == nil
}
