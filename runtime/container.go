package runtime

import (
	"context"
	"os"
	"syscall"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Status is a container's state in the OCI runtime spec's words.
type Status string

// The states of a container.
const (
	StatusCreated Status = "created"
	StatusRunning Status = "running"
	StatusPaused  Status = "paused"
	StatusStopped Status = "stopped"
)

// State describes a container at one moment.
type State struct {
	ID      string
	Status  Status
	Pid     int // in the host's pid namespace; 0 when stopped
	Created time.Time
}

// Container is one container of a Runtime.
type Container struct {
	// Console is the terminal's master when Process.Terminal was set, else nil.
	// The caller owns and closes it.
	Console *os.File

	id  string
	pid int
}

// ID is the name given to Create.
func (c *Container) ID() string { return c.id }

// Pid is the init process in the host's pid namespace.
func (c *Container) Pid() int { return c.pid }

// NetNS is the path of the container's network namespace, valid while it runs.
func (c *Container) NetNS() string { return "" }

// Start lets init execute the program. It returns when that succeeded, or its
// error: ErrNotFound, ErrPermission.
func (c *Container) Start(ctx context.Context) error { return errNotBuilt }

// Kill sends sig to the container's first process.
func (c *Container) Kill(sig syscall.Signal) error { return errNotBuilt }

// KillAll ends every process of the container with SIGKILL.
func (c *Container) KillAll(ctx context.Context) error { return errNotBuilt }

// Pause freezes every process of the container.
func (c *Container) Pause(ctx context.Context) error { return errNotBuilt }

// Resume undoes Pause.
func (c *Container) Resume(ctx context.Context) error { return errNotBuilt }

// Exec runs a further process in the running container. Capabilities, user and
// environment are those of p; seccomp is the container's.
func (c *Container) Exec(ctx context.Context, execID string, p *specs.Process, s Stdio) (*Process, error) {
	return nil, errNotBuilt
}

// Wait blocks until the container's first process ended.
func (c *Container) Wait(ctx context.Context) (ExitStatus, error) {
	return ExitStatus{}, errNotBuilt
}

// OOMKilled tells whether the kernel killed a process of the container because
// its memory limit was reached. Valid until Delete.
func (c *Container) OOMKilled() bool { return false }

// Resize sets the terminal's size.
func (c *Container) Resize(width, height uint16) error { return errNotBuilt }

// State looks at the kernel and describes the container now.
func (c *Container) State() State { return State{} }

// Delete kills what is left in the container and removes its cgroup and run
// state. Deleting twice is no error.
func (c *Container) Delete(ctx context.Context) error { return errNotBuilt }

// Process is a process that Exec started.
type Process struct {
	// Console is the terminal's master when a terminal was asked for, else nil.
	Console *os.File

	pid int
}

// Pid is the process in the host's pid namespace.
func (p *Process) Pid() int { return p.pid }

// Wait blocks until the process ended; then its exit record is released.
func (p *Process) Wait(ctx context.Context) (ExitStatus, error) {
	return ExitStatus{}, errNotBuilt
}

// Kill sends sig to the process.
func (p *Process) Kill(sig syscall.Signal) error { return errNotBuilt }

// Resize sets the terminal's size.
func (p *Process) Resize(width, height uint16) error { return errNotBuilt }
