package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"tutti/runtime/cgroup"
	"tutti/runtime/statefile"
	"tutti/runtime/wire"
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
	// Bundle, Root and Annotations are what Create was told.
	Bundle, Root string
	Annotations  map[string]string
}

// state is what the state file holds: what Load and Exec need. Whether the
// process lives is the kernel's to say, never the file's.
type state struct {
	ID          string
	Created     time.Time
	Cgroup      string // path in every hierarchy
	Pid         int
	StartTime   uint64 // see startTime
	OwnPidNS    bool
	Filter      []byte // seccomp, for Exec
	FilterFlags uint64
	Caps        wire.Caps
	NoNewPrivs  bool
	OOMScoreAdj string
	AppArmor    string
	Groups      []string
	Personality uint64 // as in wire.Process
	NoKeyring   bool
	Join        uint64            // CLONE_NEW* that a further process has to join besides enterNamespaces
	Outer       *outerMount       // with a mount namespace that is not its own
	Detached    bool              // it listens on the socket of startSocket until it is started
	Bundle      string            // see CreateOptions
	Root        string            // of the spec
	Annotations map[string]string // of the spec
	Hooks       *specs.Hooks      // those that run after the creation
}

// Container is one container of a Runtime.
type Container struct {
	// Console is the terminal's master when Process.Terminal was set, else nil.
	// The caller owns and closes it.
	Console *os.File

	rt         *Runtime
	id         string
	cg         cgroup.Manager
	madeCgroup bool
	state      state
	pidfd      *os.File // nil when the process was gone at Load

	mu    sync.Mutex
	ctl   *control            // set between Create and Start
	execs map[string]struct{} // keys of exec processes to release with the container
}

// Load finds a container again after a restart of the engine, from its state
// file, pid and start time. The error is ErrNoContainer when there is none.
func (r *Runtime) Load(id string) (*Container, error) {
	if !validID().MatchString(id) {
		return nil, fmt.Errorf("container %q: %w", id, ErrNoContainer)
	}
	c := &Container{rt: r, id: id, madeCgroup: true}
	err := statefile.Read(r.stateFile(id), &c.state)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("container %s: %w", id, ErrNoContainer)
	}
	if err != nil {
		return nil, fmt.Errorf("load container %s: %w", id, err)
	}
	c.cg = r.cgroups.Manager(c.state.Cgroup)
	c.pidfd = openProcess(c.state.Pid, c.state.StartTime)
	if a, ok := r.cfg.Reaper.(Adopter); ok && c.pidfd != nil {
		if err := a.Adopt(id, c.state.Pid, c.pidfd); err != nil {
			return nil, fmt.Errorf("load container %s: %w", id, err)
		}
	}
	return c, nil
}

// ID is the name given to Create.
func (c *Container) ID() string { return c.id }

// Pid is the init process in the host's pid namespace.
func (c *Container) Pid() int { return c.state.Pid }

// NetNS is the path of the container's network namespace, valid while it runs.
func (c *Container) NetNS() string { return "/proc/" + strconv.Itoa(c.state.Pid) + "/ns/net" }

// Start lets init execute the program. It returns when that succeeded, or its
// error: ErrNotFound, ErrPermission. After an error the container is stopped,
// with ExitCode of the error as its exit code.
func (c *Container) Start(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var err error
	if c.state.Detached {
		err = c.startDetached(ctx)
	} else {
		err = c.startOwn(ctx)
	}
	if err != nil {
		return fmt.Errorf("start container %s: %w", c.id, err)
	}
	c.runPoststart()
	return nil
}

func (c *Container) startOwn(ctx context.Context) error {
	if c.ctl == nil {
		return ErrNotCreated
	}
	ctl := c.ctl
	c.ctl = nil
	defer ctl.close()
	return ctl.start(ctx, frame(wire.FrameStart, nil))
}

// start sends the word and waits for the end of the stream, which execve brings.
func (c *control) start(ctx context.Context, word []byte) error {
	defer c.bound(ctx)()
	if err := c.send(word); err != nil && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
		return err
	}
	for {
		_, err := c.next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return err
		}
	}
}

// Kill sends sig to the container's first process.
func (c *Container) Kill(sig syscall.Signal) error {
	err := ErrNotRunning // also of one that nobody has reaped yet, which takes signals
	if c.alive() {
		err = signalProcess(c.pidfd, sig)
	}
	if err != nil {
		return fmt.Errorf("kill container %s: %w", c.id, err)
	}
	return nil
}

// KillAll ends every process of the container with SIGKILL, paused ones too.
func (c *Container) KillAll(context.Context) error {
	if err := c.cg.Kill(); err != nil {
		return fmt.Errorf("kill container %s: %w", c.id, err)
	}
	return nil
}

// SignalAll sends sig to every process of the container. They are frozen meanwhile,
// so that none is born unseen; the kernel's SIGKILL needs no such care.
func (c *Container) SignalAll(ctx context.Context, sig syscall.Signal) error {
	if sig == syscall.SIGKILL {
		return c.KillAll(ctx)
	}
	paused, err := c.cg.Frozen()
	if err == nil && !paused {
		if err = c.cg.Freeze(ctx); errors.Is(err, cgroup.ErrUnsupported) {
			err, paused = nil, true // this host has no freezer: nothing to thaw
		}
	}
	if err != nil {
		return fmt.Errorf("signal container %s: %w", c.id, err)
	}
	pids, err := c.cg.Pids()
	for _, pid := range pids {
		if kerr := syscall.Kill(pid, sig); kerr != nil && !errors.Is(kerr, syscall.ESRCH) {
			err = errors.Join(err, fmt.Errorf("process %d: %w", pid, kerr))
		}
	}
	if !paused {
		err = errors.Join(err, c.cg.Thaw())
	}
	if err != nil {
		return fmt.Errorf("signal container %s: %w", c.id, err)
	}
	return nil
}

// Update changes limits of the container; nil fields stay as they are.
func (c *Container) Update(res *specs.LinuxResources) error {
	if err := c.cg.Set(res); err != nil {
		return fmt.Errorf("update container %s: %w", c.id, err)
	}
	return nil
}

// Pause freezes every process of the container.
func (c *Container) Pause(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.created() || !c.alive() {
		return fmt.Errorf("pause container %s: %w", c.id, ErrNotRunning)
	}
	if err := c.cg.Freeze(ctx); err != nil {
		return fmt.Errorf("pause container %s: %w", c.id, err)
	}
	return nil
}

// Resume undoes Pause.
func (c *Container) Resume(context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.alive() {
		return fmt.Errorf("resume container %s: %w", c.id, ErrNotRunning)
	}
	if err := c.cg.Thaw(); err != nil {
		return fmt.Errorf("resume container %s: %w", c.id, err)
	}
	return nil
}

// Wait blocks until the container's first process ended.
func (c *Container) Wait(ctx context.Context) (ExitStatus, error) {
	return c.rt.cfg.Reaper.Wait(ctx, c.id)
}

// OOMKilled tells whether the kernel killed a process of the container because
// its memory limit was reached. Valid until Delete.
func (c *Container) OOMKilled() bool {
	n, err := c.cg.OOMKills()
	return err == nil && n > 0
}

// Stats reads the counters of the container's cgroup.
func (c *Container) Stats() (cgroup.Stats, error) { return c.cg.Stats() }

// Pids lists the container's processes in the host's pid namespace.
func (c *Container) Pids() ([]int, error) { return c.cg.Pids() }

// Resize sets the terminal's size in characters.
func (c *Container) Resize(width, height uint16) error { return resize(c.Console, width, height) }

func resize(console *os.File, width, height uint16) error {
	if console == nil {
		return errors.New("resize: there is no terminal")
	}
	conn, err := console.SyscallConn()
	if err != nil {
		return fmt.Errorf("resize: %w", err)
	}
	var ierr error
	err = conn.Control(func(fd uintptr) {
		ierr = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: height, Col: width})
	})
	if err := errors.Join(err, ierr); err != nil {
		return fmt.Errorf("resize: %w", err)
	}
	return nil
}

func (c *Container) alive() bool { return c.pidfd != nil && !exited(c.pidfd) }

// State looks at the kernel and describes the container now.
func (c *Container) State() State {
	s := State{
		ID: c.id, Status: StatusStopped, Created: c.state.Created, Bundle: c.state.Bundle, Root: c.state.Root, Annotations: c.state.Annotations,
	}
	if !c.alive() {
		return s
	}
	s.Pid, s.Status = c.state.Pid, StatusRunning
	c.mu.Lock()
	created := c.created()
	c.mu.Unlock()
	if created {
		s.Status = StatusCreated
	} else if frozen, err := c.cg.Frozen(); err == nil && frozen {
		s.Status = StatusPaused
	}
	return s
}

// killForDelete ends all processes. The end of a pid namespace's first process is
// the end of all in it, unless they are frozen; that is much cheaper than to look
// for them in the cgroup.
func (c *Container) killForDelete() error {
	if c.pidfd != nil {
		_ = signalProcess(c.pidfd, syscall.SIGKILL)
	}
	if !c.madeCgroup {
		return nil
	}
	if c.state.OwnPidNS {
		if frozen, err := c.cg.Frozen(); err == nil && !frozen {
			return nil
		}
	}
	return c.cg.Kill()
}

// Delete kills what is left in the container and removes its cgroup and run
// state. Deleting twice is no error.
func (c *Container) Delete(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctl != nil {
		c.ctl.close()
		c.ctl = nil
	}
	var errs []error
	errs = append(errs, c.killForDelete())
	if c.pidfd != nil {
		if _, err := c.rt.cfg.Reaper.Wait(ctx, c.id); err != nil && ctx.Err() != nil {
			errs = append(errs, err)
		}
	}
	if c.madeCgroup {
		errs = append(errs, c.cg.Remove(ctx))
	}
	errs = append(errs, c.removeOuter())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("delete container %s: %w", c.id, err)
	}
	for key := range c.execs {
		errs = append(errs, c.rt.cfg.Reaper.Release(key))
	}
	c.runPoststop()
	errs = append(errs, c.rt.cfg.Reaper.Release(c.id), os.RemoveAll(c.rt.dir(c.id)))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("delete container %s: %w", c.id, err)
	}
	return nil
}
