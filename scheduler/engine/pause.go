package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/moby/moby/api/types/events"

	"tutti/runtime"
	"tutti/scheduler/container"
)

// PauseUnit freezes a container. It is recorded before, so that nothing is done inside it any more when it stands still: a
// probe that was frozen half way would count as failed, and could not even be killed.
func (e *Engine) PauseUnit(ctx context.Context, u *Unit) error {
	u.op.Lock()
	defer u.op.Unlock()
	p := u.Running()
	switch s := u.Snapshot(); {
	case s.Status == container.Paused:
		return fmt.Errorf("%w: container %s is already paused", ErrConflict, u.Name())
	case s.Status == container.Restarting:
		return fmt.Errorf("%w: container %s is restarting, wait until the container is running", ErrConflict, u.Name())
	case p == nil || s.Status != container.Running:
		return fmt.Errorf("%w: container %s is not running", ErrConflict, u.Name())
	}
	if _, err := u.update(func(s *container.State) { s.Status = container.Paused }); err != nil {
		return errors.Join(err, e.setRunning(u))
	}
	u.probes.Lock() // the probe that runs has been given up
	err := p.Pause(ctx)
	u.probes.Unlock()
	if err != nil {
		return errors.Join(err, p.Resume(context.WithoutCancel(ctx)), e.setRunning(u))
	}
	if u.Snapshot().Status != container.Paused { // a signal has come in between, and must be acted upon
		return p.Resume(ctx)
	}
	e.Publish(u, events.ActionPause)
	return nil
}

// UnpauseUnit lets a frozen container go on.
func (e *Engine) UnpauseUnit(ctx context.Context, u *Unit) error {
	u.op.Lock()
	defer u.op.Unlock()
	p := u.Running()
	if p == nil || u.Snapshot().Status != container.Paused {
		return fmt.Errorf("%w: container %s is not paused", ErrConflict, u.Name())
	}
	return e.thaw(ctx, u, p)
}

// release lets the processes of a frozen container go on.
func (e *Engine) release(ctx context.Context, u *Unit, p *runtime.Container) error {
	if err := p.Resume(ctx); err != nil {
		return err
	}
	return e.setRunning(u)
}

// thaw is unpause for who knows that the container is frozen.
func (e *Engine) thaw(ctx context.Context, u *Unit, p *runtime.Container) error {
	if err := e.release(ctx, u, p); err != nil {
		return err
	}
	e.Publish(u, events.ActionUnPause)
	return nil
}

func (e *Engine) setRunning(u *Unit) error {
	_, err := u.update(func(s *container.State) {
		if s.Status == container.Paused {
			s.Status = container.Running
		}
	})
	return err
}

// resumePaused makes the record of a container that an earlier engine ran agree with the kernel: that engine may have died
// between freezing and recording it.
func resumePaused(u *Unit, p *runtime.Container) error {
	var status container.Status
	switch frozen := p.State().Status == runtime.StatusPaused; {
	case frozen && u.Snapshot().Status == container.Running:
		status = container.Paused
	case !frozen && u.Snapshot().Status == container.Paused:
		status = container.Running
	default:
		return nil
	}
	_, err := u.update(func(s *container.State) { s.Status = status })
	return err
}

// whileAwake runs do whenever the container is not paused, until ctx is done. do's context ends with each pause.
func (e *Engine) whileAwake(ctx context.Context, u *Unit, do func(context.Context)) {
	is := func(paused bool) func(container.State) (bool, error) {
		return func(s container.State) (bool, error) { return (s.Status == container.Paused) == paused, nil }
	}
	for u.Wait(ctx, is(false)) == nil && ctx.Err() == nil { // a state that is right needs no waiting
		u.probes.Lock()
		awake, cancel := context.WithCancel(ctx)
		watched := make(chan struct{})
		go func() { // ends with awake
			defer close(watched)
			_ = u.Wait(awake, is(true))
			cancel()
		}()
		do(awake)
		paused := awake.Err() != nil
		cancel()
		<-watched
		u.probes.Unlock()
		if !paused {
			return // there was nothing to do
		}
	}
}

// verbKey is the context key of the command that a request carries out.
type verbKey struct{}

// WithVerb notes in a request's context which command it carries out: containers remember who ended them.
func WithVerb(ctx context.Context, verb string) context.Context {
	return context.WithValue(ctx, verbKey{}, verb)
}

// VerbOf is the command that a request carries out, "" when that is not known.
func VerbOf(ctx context.Context) string {
	verb, _ := ctx.Value(verbKey{}).(string)
	return verb
}

// asked is a request to end a container, with the first signal.
func asked(ctx context.Context, signal int) *container.Asked {
	return &container.Asked{By: VerbOf(ctx), Signal: signal, At: time.Now().UTC()}
}

// OutOfMemory tells what the kernel knows of a container's memory when it has killed processes of it for want of it; nil
// when it has not.
func OutOfMemory(p *runtime.Container) *container.OOM {
	if !p.OOMKilled() {
		return nil
	}
	s, err := p.Stats()
	if err != nil {
		return &container.OOM{}
	}
	return &container.OOM{Limit: s.Memory.Limit, Peak: s.Memory.Peak, Kills: s.Memory.OOMKills}
}
