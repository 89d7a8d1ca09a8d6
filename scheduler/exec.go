package scheduler

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/moby/moby/api/types/events"

	"tutti/runtime"
	"tutti/scheduler/container"
)

// ExecConfig is a further process in a running container.
type ExecConfig struct {
	Args       []string
	Env        []string
	User       string
	WorkingDir string
	TTY        bool
	Stdin      bool
	Privileged bool
}

// Exec is one exec of a container, from its creation on. Its exit code is kept while the engine lives.
type Exec struct {
	ID     string
	Config ExecConfig
	unit   *unit

	mu      sync.Mutex
	process *runtime.Process
	running bool
	code    int
	done    bool
}

// keptExecs is how many execs are remembered before those that have ended are forgotten.
const keptExecs = 256

func (x *Exec) finished() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.done
}

// ErrNoSuch means that there is no container, exec, network or volume of that name.
var ErrNoSuch = errors.New("no such")

// ErrConflict means that the state of a container does not allow what was asked for.
var ErrConflict = errors.New("conflict")

// CreateExec prepares a process in a container that runs. The container is named by its name or id, or a prefix of that.
func (e *Engine) CreateExec(name string, c ExecConfig) (*Exec, error) {
	u, err := e.find(name)
	if err != nil {
		return nil, err
	}
	if len(c.Args) == 0 {
		return nil, errors.New("exec: there is no command")
	}
	switch s := u.snapshot(); {
	case !s.Alive():
		return nil, fmt.Errorf("%w: container %s is not running", ErrConflict, u.config.Name)
	case s.Status == container.Paused:
		return nil, fmt.Errorf("%w: container %s is paused, unpause the container before exec", ErrConflict, u.config.Name)
	}
	x := &Exec{ID: newID(), Config: c, unit: u}
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.execs) >= keptExecs {
		for id, old := range e.execs {
			if old.finished() {
				delete(e.execs, id)
			}
		}
	}
	e.execs[x.ID] = x
	e.execEvent(x, events.ActionExecCreate)
	return x, nil
}

// FindExec returns an exec by its id.
func (e *Engine) FindExec(id string) (*Exec, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if x := e.execs[id]; x != nil {
		return x, nil
	}
	return nil, fmt.Errorf("%w exec: %s", ErrNoSuch, id)
}

// find returns the container of that name or id, or the only one whose id begins so.
func (e *Engine) find(name string) (*unit, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	name = strings.TrimPrefix(name, "/")
	if u := e.units[name]; u != nil {
		return u, nil
	}
	var found *unit
	for id, u := range e.units {
		if u.config.Name == name {
			return u, nil
		}
		if len(name) > 0 && strings.HasPrefix(id, name) {
			if found != nil {
				return nil, fmt.Errorf("%w: several container ids begin with %s", ErrConflict, name)
			}
			found = u
		}
	}
	if found == nil {
		return nil, fmt.Errorf("%w container: %s", ErrNoSuch, name)
	}
	return found, nil
}

// Status tells whether the exec's process runs, its pid, and its exit code once it has ended.
func (x *Exec) Status() (running bool, pid, code int, container string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.process != nil {
		pid = x.process.Pid()
	}
	return x.running, pid, x.code, x.unit.id
}

// Resize sets the size of the exec's terminal.
func (x *Exec) Resize(width, height uint16) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.process == nil || x.process.Console == nil {
		return fmt.Errorf("%w: the exec has no terminal yet", ErrConflict)
	}
	return x.process.Resize(width, height)
}

// Streams are the client's ends of an exec. Without a terminal Stdout and Stderr are apart; with one all is Stdout.
type Streams struct {
	Stdin          io.Reader // nil: no input
	Stdout, Stderr io.Writer
}

// StartExec runs the exec and returns when its process has ended and all its output is written. A client that goes away
// ends nothing: the process stays, as with docker. started is called when the process runs.
func (e *Engine) StartExec(x *Exec, s Streams, started func()) error {
	p := x.unit.running()
	if p == nil {
		return fmt.Errorf("%w: container %s is not running", ErrConflict, x.unit.config.Name)
	}
	process := x.unit.newProcess(x.Config.Args, x.Config.Privileged)
	process.Env = append(process.Env, x.Config.Env...)
	process.Terminal = x.Config.TTY
	if x.Config.User != "" {
		process.User.Username = x.Config.User
	}
	if x.Config.WorkingDir != "" {
		process.Cwd = x.Config.WorkingDir
	}
	pipes, err := newExecIO(x.Config, s)
	if err != nil {
		return err
	}
	defer pipes.close()
	proc, err := p.Exec(e.ctx, x.ID, process, pipes.child)
	pipes.closeChild()
	if err != nil {
		x.mu.Lock()
		x.code, x.done = runtime.ExitCode(err), true
		x.mu.Unlock()
		return err
	}
	x.mu.Lock()
	x.process, x.running = proc, true
	x.mu.Unlock()
	e.execEvent(x, events.ActionExecStart)
	started()
	pipes.copy(proc.Console)
	status, err := proc.Wait(e.ctx)
	pipes.wait()
	x.mu.Lock()
	defer x.mu.Unlock()
	x.running, x.done, x.code = false, true, status.Code
	e.execEvent(x, events.ActionExecDie, "exitCode", strconv.Itoa(status.Code))
	return err
}

// execIO connects an exec's process with its client.
type execIO struct {
	streams        Streams
	child          runtime.Stdio
	stdin          *os.File // our end
	stdout, stderr *os.File
	console        *os.File
	out            sync.WaitGroup
}

func newExecIO(c ExecConfig, s Streams) (*execIO, error) {
	x := &execIO{streams: s}
	if c.TTY {
		return x, nil
	}
	var err error
	if c.Stdin && s.Stdin != nil {
		if x.child.Stdin, x.stdin, err = os.Pipe(); err != nil {
			return nil, err
		}
	}
	if x.stdout, x.child.Stdout, err = os.Pipe(); err != nil {
		x.close()
		return nil, err
	}
	if x.stderr, x.child.Stderr, err = os.Pipe(); err != nil {
		x.close()
		return nil, err
	}
	return x, nil
}

// copy moves bytes both ways until both ends are closed.
func (x *execIO) copy(console *os.File) {
	if console != nil {
		x.console = console
		x.out.Go(func() { drain(x.streams.Stdout, console) }) // EIO when the last process is gone
		if x.streams.Stdin != nil {
			go func() { _, _ = io.Copy(console, x.streams.Stdin) }() // ends with the client's connection
		}
		return
	}
	x.out.Go(func() { drain(x.streams.Stdout, x.stdout) })
	x.out.Go(func() { drain(x.streams.Stderr, x.stderr) })
	if x.stdin != nil {
		go func() { // ends with the client's connection
			_, _ = io.Copy(x.stdin, x.streams.Stdin)
			_ = x.stdin.Close()
		}()
	}
}

// drain copies until the end. When the client has gone the rest is thrown away: the process must not be held up by it.
func drain(to io.Writer, from io.Reader) {
	if _, err := io.Copy(to, from); err != nil {
		_, _ = io.Copy(io.Discard, from)
	}
}

// wait returns when all output is written.
func (x *execIO) wait() { x.out.Wait() }

func (x *execIO) closeChild() {
	for _, f := range []*os.File{x.child.Stdin, x.child.Stdout, x.child.Stderr} {
		if f != nil {
			_ = f.Close()
		}
	}
}

func (x *execIO) close() {
	x.closeChild()
	for _, f := range []*os.File{x.stdin, x.stdout, x.stderr, x.console} {
		if f != nil {
			_ = f.Close()
		}
	}
}
