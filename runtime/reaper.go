package runtime

import (
	"context"
	"os"
	"time"
)

// ExitStatus tells how a process ended.
type ExitStatus struct {
	Code   int       // 0-255; 128+Signal when a signal ended the process
	Signal int       // 0 when the process exited by itself
	At     time.Time // when the parent reaped it
}

// Reaper is the parent of container processes and tells how they ended. The
// keeper is one (its processes survive the engine), NewLocalReaper another.
type Reaper interface {
	// CloneFlags is CLONE_PARENT when the reaper is this process's parent, 0 when
	// it is this process.
	CloneFlags() uintptr
	// Register names a process right after its clone. An id is free again after Release.
	Register(id string, pid int) error
	// Wait blocks until the registered process ended. It can be asked again, also
	// by another engine, until Release.
	Wait(ctx context.Context, id string) (ExitStatus, error)
	// Release forgets the process and its exit status. Releasing twice is no error.
	Release(id string) error
}

// Adopter is a Reaper that can also tell how a process ends that is not its child, because the reaper that it was a
// child of has died. Adopting one that is registered already is no error.
type Adopter interface {
	Adopt(id string, pid int, pidfd *os.File) error
}
