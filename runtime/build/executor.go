package build

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
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
	network func(context.Context) (StepNetwork, error)

	mu      sync.Mutex
	running map[string]*step // by BuildKit's ID

	// all are the steps that run. A build that is cancelled ends before its step does,
	// which is killed and has things to undo.
	all sync.WaitGroup
}

// step is a running container of a build.
type step struct {
	started chan struct{} // closed when container is set or the step has failed
	ended   chan struct{}

	container *runtime.Container
}

// newSteps empties dir of what an earlier process has left there.
func newSteps(dir string, r *runtime.Runtime, network func(context.Context) (StepNetwork, error)) (*steps, error) {
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
	s.all.Add(1)
	defer s.all.Done()
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
	if slices.Contains(valid, status.Code) {
		return nil
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

// folder is where a step's own files lie.
func (s *steps) folder(id string) string { return filepath.Join(s.dir, id) }
