package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/moby/moby/api/types/events"
	"github.com/opencontainers/runtime-spec/specs-go"

	"tutti/runtime"
	"tutti/scheduler/api"
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
	Size       api.Size // of its terminal; zero: not known
}

// Exec is one exec of a container, from its creation on. Its exit code is kept while the engine lives.
type Exec struct {
	ID     string
	Config ExecConfig
	unit   *Unit

	mu      sync.Mutex
	process *runtime.Process // while it runs
	pid     int
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

// CreateExec prepares a process in a container that runs. The container is named by its name or id, or a prefix of that.
func (e *Engine) CreateExec(name string, c ExecConfig) (*Exec, error) {
	u, err := e.FindUnit(name)
	if err != nil {
		return nil, err
	}
	if len(c.Args) == 0 {
		return nil, errors.New("exec: there is no command")
	}
	if err := executable(u); err != nil {
		return nil, err
	}
	x := &Exec{ID: NewID(), Config: c, unit: u}
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

// Status tells whether the exec's process runs, its pid, and its exit code once it has ended.
func (x *Exec) Status() (running bool, pid, code int, container string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.running, x.pid, x.code, x.unit.ID
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

// StartExec runs the exec and returns its exit code when its process has ended and all its output is written; with an error
// the code says what failed. A client that goes away (ctx) ends nothing: the process stays, as with docker, with its input
// at its end. started is called when the process runs.
func (e *Engine) StartExec(ctx context.Context, x *Exec, s Streams, started func()) (int, error) {
	proc, pipes, err := e.launchExec(ctx, x, s)
	if err != nil {
		code := runtime.ExitCode(err)
		x.mu.Lock()
		x.code, x.done = code, true
		x.mu.Unlock()
		return code, err
	}
	defer pipes.close()
	x.mu.Lock()
	x.process, x.pid, x.running = proc, proc.Pid(), true
	x.mu.Unlock()
	e.execEvent(x, events.ActionExecStart)
	started()
	pipes.copy(ctx, proc.Console)
	status, err := proc.Wait(e.ctx)
	pipes.wait()
	x.mu.Lock()
	defer x.mu.Unlock()
	x.process, x.running, x.done, x.code = nil, false, true, status.Code
	e.execEvent(x, events.ActionExecDie, "exitCode", strconv.Itoa(status.Code))
	return status.Code, err
}

// launchExec starts the exec's process.
func (e *Engine) launchExec(ctx context.Context, x *Exec, s Streams) (*runtime.Process, *execIO, error) {
	var p *runtime.Container
	for p == nil { // it has ended meanwhile: is it started again?
		err := executable(x.unit)
		if err == nil {
			p, err = x.unit.Process(ctx)
		}
		if err != nil {
			return nil, nil, err
		}
	}
	process := x.unit.newProcess(x.Config.Args, x.Config.Privileged)
	if x.Config.TTY {
		process.Env = container.WithEnv(process.Env, []string{"TERM=xterm"})
	}
	process.Env = container.WithEnv(process.Env, x.Config.Env)
	process.Terminal = x.Config.TTY
	if size := x.Config.Size; size != (api.Size{}) {
		process.ConsoleSize = &specs.Box{Width: uint(size.Width), Height: uint(size.Height)}
	}
	if x.Config.User != "" {
		process.User.Username = x.Config.User
	}
	if x.Config.WorkingDir != "" {
		process.Cwd = x.Config.WorkingDir
	}
	pipes, err := newExecIO(x.Config, s)
	if err != nil {
		return nil, nil, err
	}
	proc, err := p.Exec(e.ctx, x.ID, process, pipes.child)
	pipes.closeChild()
	if err != nil {
		pipes.close()
		return nil, nil, err
	}
	return proc, pipes, nil
}

// executable says, in docker's words, why nothing can be executed in a container as it is.
func executable(u *Unit) error {
	switch s := u.Snapshot(); s.Status {
	case container.Running:
		return nil
	case container.Paused:
		return fmt.Errorf("%w: container %s is paused, unpause the container before exec", ErrConflict, u.Name())
	case container.Restarting:
		return fmt.Errorf("%w: container %s is restarting, wait until the container is running", ErrConflict, u.Name())
	case container.Created, container.Exited, container.Removing, container.Dead:
	}
	return fmt.Errorf("%w: container %s is not running", ErrConflict, u.Name())
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

// copy moves bytes both ways until both ends are closed. The input ends with ctx, too.
func (x *execIO) copy(ctx context.Context, console *os.File) {
	in := x.stdin
	if console != nil {
		x.console, in = console, console
		x.out.Go(func() { drain(x.streams.Stdout, console) }) // EIO when the last process is gone
	} else {
		x.out.Go(func() { drain(x.streams.Stdout, x.stdout) })
		x.out.Go(func() { drain(x.streams.Stderr, x.stderr) })
	}
	if in == nil || x.streams.Stdin == nil {
		return
	}
	stop := context.AfterFunc(ctx, func() { _ = in.SetWriteDeadline(time.Unix(1, 0)) }) // the process need not read
	go func() {                                                                         // ends with the client's connection
		defer stop()
		_, _ = plainCopy(in, x.streams.Stdin)
		if console == nil {
			_ = in.Close()
		}
	}()
}

// drain copies until the end. When the client has gone the rest is thrown away: the process must not be held up by it.
func drain(to io.Writer, from io.Reader) {
	if _, err := io.Copy(to, from); err != nil {
		_, _ = io.Copy(io.Discard, from)
	}
}

// wait returns when all output is written. A terminal that others have inherited is not waited for.
func (x *execIO) wait() {
	if x.console != nil {
		_ = x.console.SetReadDeadline(time.Now().Add(drainTime))
	}
	x.out.Wait()
}

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
