package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/moby/buildkit/executor"
	resources "github.com/moby/buildkit/executor/resources/types"
	gateway "github.com/moby/buildkit/frontend/gateway/pb"
	"github.com/moby/buildkit/identity"
	"golang.org/x/sys/unix"

	"tutti/runtime"
)

// idPrefix starts the container ID of every step, so that the runtime's removal of
// orphans finds those of an engine that died.
const idPrefix = "build-"

// steps is BuildKit's executor: it runs RUN steps as containers.
type steps struct {
	dir     string // one folder per running step
	runtime *runtime.Runtime
	network func(context.Context) (string, func(), error)

	mu      sync.Mutex
	running map[string]*step // by BuildKit's ID
}

// step is a running container of a build.
type step struct {
	started chan struct{} // closed when container is set or the step has failed
	ended   chan struct{}

	container *runtime.Container
}

// newSteps empties dir of what an earlier process has left there.
func newSteps(dir string, r *runtime.Runtime, network func(context.Context) (string, func(), error)) (*steps, error) {
	if err := os.RemoveAll(dir); err != nil {
		return nil, fmt.Errorf("remove files of earlier build steps: %w", err)
	}
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return nil, fmt.Errorf("create folder for build steps: %w", err)
	}
	return &steps{dir: dir, runtime: r, network: network, running: map[string]*step{}}, nil
}

// Run executes one step and returns when it has ended and nothing of it is left.
// started, when not nil, is closed once the program runs or never will.
func (s *steps) Run(ctx context.Context, id string, root executor.Mount, mounts []executor.Mount, process executor.ProcessInfo, started chan<- struct{}) (_ resources.Recorder, err error) {
	if id == "" {
		id = identity.NewID()
	}
	if err := executor.ValidContainerID(id); err != nil {
		return nil, err
	}
	st := &step{started: make(chan struct{}), ended: make(chan struct{})}
	s.mu.Lock()
	s.running[id] = st
	s.mu.Unlock()
	ready := sync.OnceFunc(func() {
		close(st.started)
		if started != nil {
			close(started)
		}
	})
	defer func() {
		ready()
		close(st.ended)
		s.mu.Lock()
		delete(s.running, id)
		s.mu.Unlock()
	}()
	sandbox, err := s.prepare(ctx, id, root, mounts, process.Meta)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, sandbox.close()) }()
	return nil, s.run(ctx, st, sandbox, process, ready)
}

// run creates the container, waits for its program and deletes it.
func (s *steps) run(ctx context.Context, st *step, sb *sandbox, process executor.ProcessInfo, ready func()) (err error) {
	streams, err := openStreams(process)
	if err != nil {
		return err
	}
	defer streams.close()
	container, err := s.runtime.Create(ctx, sb.id, sb.spec, runtime.CreateOptions{Rootfs: sb.rootfs, Stdio: streams.child()})
	if err != nil {
		return fmt.Errorf("create container of build step: %w", err)
	}
	defer func() {
		err = errors.Join(err, container.Delete(context.WithoutCancel(ctx))) // ends what still writes to the streams
		streams.drain(process.Meta.Tty)
	}()
	streams.start(container.Console)
	if err := container.Start(ctx); err != nil {
		return &gateway.ExitError{ExitCode: uint32(runtime.ExitCode(err)), Err: err}
	}
	st.container = container
	ready()

	ctx, cancel := context.WithCancel(ctx)
	control := forwardControl(ctx, process, container.Kill, container.Resize)
	defer func() { cancel(); control.Wait() }()
	status, err := waitOrKill(ctx, container.Wait, func() error { return container.KillAll(context.WithoutCancel(ctx)) })
	if err != nil {
		return err
	}
	if container.OOMKilled() {
		return &gateway.ExitError{ExitCode: uint32(status.Code), Err: fmt.Errorf("exit code: %d: out of memory", status.Code)}
	}
	return exitError(status, process.Meta.ValidExitCodes)
}

// Exec runs a further program in the container of a running step.
func (s *steps) Exec(ctx context.Context, id string, process executor.ProcessInfo) error {
	s.mu.Lock()
	st := s.running[id]
	s.mu.Unlock()
	if st == nil {
		return fmt.Errorf("container %s not found", id)
	}
	select {
	case <-st.started:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if st.container == nil {
		return fmt.Errorf("container %s has not started", id)
	}
	streams, err := openStreams(process)
	if err != nil {
		return err
	}
	defer streams.close()
	p, err := st.container.Exec(ctx, identity.NewID(), processSpec(process.Meta), streams.child())
	if err != nil {
		return &gateway.ExitError{ExitCode: uint32(runtime.ExitCode(err)), Err: err}
	}
	streams.start(p.Console)
	defer streams.drain(process.Meta.Tty)

	ctx, cancel := context.WithCancel(ctx)
	control := forwardControl(ctx, process, p.Kill, p.Resize)
	defer func() { cancel(); control.Wait() }()
	status, err := waitOrKill(ctx, p.Wait, func() error { return p.Kill(unix.SIGKILL) })
	if err != nil {
		return err
	}
	return exitError(status, process.Meta.ValidExitCodes)
}

// waitOrKill waits for the end of a program; when ctx ends first the program is
// killed, and the error tells why.
func waitOrKill(ctx context.Context, wait func(context.Context) (runtime.ExitStatus, error), kill func() error) (runtime.ExitStatus, error) {
	status, err := wait(ctx)
	if ctx.Err() == nil {
		if err != nil {
			return status, fmt.Errorf("wait for build step: %w", err)
		}
		return status, nil
	}
	killErr := kill()
	status, err = wait(context.WithoutCancel(ctx))
	return status, errors.Join(context.Cause(ctx), killErr, err)
}

func exitError(status runtime.ExitStatus, valid []int) error {
	if status.Code == 0 && len(valid) == 0 {
		return nil
	}
	for _, code := range valid {
		if code == status.Code {
			return nil
		}
	}
	return &gateway.ExitError{ExitCode: uint32(status.Code)}
}

// forwardControl passes signals and window sizes on until ctx ends.
func forwardControl(ctx context.Context, process executor.ProcessInfo, kill func(unix.Signal) error, resize func(w, h uint16) error) *sync.WaitGroup {
	var group sync.WaitGroup
	group.Go(func() {
		signals, sizes := process.Signal, process.Resize
		for {
			select {
			case <-ctx.Done():
				return
			case sig, ok := <-signals:
				if !ok {
					signals = nil
					continue
				}
				_ = kill(sig) // the program may have ended
			case size, ok := <-sizes:
				if !ok {
					sizes = nil
					continue
				}
				_ = resize(uint16(size.Cols), uint16(size.Rows))
			}
		}
	})
	return &group
}

// streams are pipes between BuildKit's readers and writers and a program, which
// needs files.
type streams struct {
	process executor.ProcessInfo
	inside  runtime.Stdio // the program's ends
	stdin   *os.File      // our ends
	stdout  *os.File
	stderr  *os.File
	console *os.File
	input   sync.WaitGroup
	output  sync.WaitGroup
}

func openStreams(process executor.ProcessInfo) (_ *streams, err error) {
	s := &streams{process: process}
	if process.Meta.Tty {
		return s, nil
	}
	defer func() {
		if err != nil {
			s.close()
			err = fmt.Errorf("open pipes of build step: %w", err)
		}
	}()
	if process.Stdin != nil {
		if s.inside.Stdin, s.stdin, err = os.Pipe(); err != nil {
			return nil, err
		}
	}
	if process.Stdout != nil {
		if s.stdout, s.inside.Stdout, err = os.Pipe(); err != nil {
			return nil, err
		}
	}
	if process.Stderr != nil {
		if s.stderr, s.inside.Stderr, err = os.Pipe(); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *streams) child() runtime.Stdio { return s.inside }

// start copies in both directions; the program has its ends now, ours of them are closed.
func (s *streams) start(console *os.File) {
	closeFiles(s.inside.Stdin, s.inside.Stdout, s.inside.Stderr)
	s.inside = runtime.Stdio{}
	s.console = console
	if console != nil {
		s.copyOut(s.process.Stdout, console)
		s.copyIn(console, s.process.Stdin)
		return
	}
	s.copyOut(s.process.Stdout, s.stdout)
	s.copyOut(s.process.Stderr, s.stderr)
	s.copyIn(s.stdin, s.process.Stdin)
}

func (s *streams) copyOut(to io.Writer, from *os.File) {
	if from != nil && to != nil {
		s.output.Go(func() { _, _ = io.Copy(to, from) }) // ends with the last writer
	}
}

func (s *streams) copyIn(to *os.File, from io.Reader) {
	if to != nil && from != nil {
		s.input.Go(func() {
			_, _ = io.Copy(to, from) // the program need not read it all
			if s.console == nil {
				_ = to.Close()
			}
		})
	}
}

// drain waits until everything that was printed is copied; nobody writes any more.
func (s *streams) drain(tty bool) {
	if tty && s.process.Stdin != nil {
		_ = s.process.Stdin.Close()
		s.input.Wait()
	}
	s.output.Wait()
}

func (s *streams) close() {
	closeFiles(s.inside.Stdin, s.inside.Stdout, s.inside.Stderr)
	if s.process.Stdin != nil {
		_ = s.process.Stdin.Close() // ends the copying when the program did not read all
	}
	closeFiles(s.stdin, s.stdout, s.stderr, s.console)
	s.input.Wait()
	s.output.Wait()
}

func closeFiles(files ...*os.File) {
	for _, f := range files {
		if f != nil {
			_ = f.Close() // closing twice is harmless
		}
	}
}

// folder is where a step's own files lie.
func (s *steps) folder(id string) string { return filepath.Join(s.dir, id) }
