package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"syscall"
	"time"

	"github.com/moby/moby/api/types/events"
	"golang.org/x/sys/unix"

	"tutti/runtime"
	"tutti/scheduler/container"
)

// StopUnit asks a container to end and kills it after its grace period, or timeout where that is given. It returns when the
// container has ended and its end is recorded. A container that does not run is no error.
func (e *Engine) StopUnit(ctx context.Context, u *Unit, timeout *time.Duration) error {
	return e.stopUnitBy(ctx, u, timeout, "")
}

// stopUnitBy is StopUnit with another signal than the container's own; "" is that.
func (e *Engine) stopUnitBy(ctx context.Context, u *Unit, timeout *time.Duration, signal string) error {
	u.op.Lock()
	defer u.op.Unlock()
	return e.stopLocked(ctx, u, timeout, signal)
}

func (e *Engine) stopLocked(ctx context.Context, u *Unit, timeout *time.Duration, signal string) error {
	sig, err := ParseSignal(cmp.Or(signal, u.Config.StopSignal))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	grace := u.Config.StopGrace
	if timeout != nil {
		grace = *timeout
	}
	if grace == 0 {
		sig = unix.SIGKILL
	}
	s, err := u.update(func(s *container.State) {
		s.Stopped = true
		if s.Alive() || s.Status == container.Restarting {
			s.Asked = asked(ctx, int(sig))
		}
		if s.Status == container.Restarting {
			s.Status = container.Exited
		}
	})
	if err != nil {
		return err
	}
	p := u.Running()
	if p == nil || !s.Alive() {
		e.abandon(u)
		return nil
	}
	told := u.supervised()
	if err := e.end(ctx, u, p, sig, grace); err != nil {
		return err
	}
	if !u.Config.AutoRemove { // whose supervision waits for us, to remove it
		select {
		case <-told: // its end is an event before the stop is one, and before it is started again
		case <-ctx.Done():
		case <-e.ctx.Done():
		}
	}
	e.Publish(u, events.ActionStop)
	return nil
}

// end sends a signal and, when the container has not ended within its grace period, kills it.
func (e *Engine) end(ctx context.Context, u *Unit, p *runtime.Container, sig syscall.Signal, grace time.Duration) error {
	if grace != 0 {
		if err := e.signal(ctx, u, p, sig); err != nil {
			return err
		}
		if err := e.waitEnded(ctx, u, grace); !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
			return err
		}
		_, err := u.update(func(s *container.State) {
			if s.Asked != nil {
				forced := *s.Asked
				forced.Forced = true
				s.Asked = &forced
			}
		})
		if err != nil {
			return err
		}
	}
	if err := e.signal(ctx, u, p, unix.SIGKILL); err != nil {
		return err
	}
	return e.waitEnded(ctx, u, -1)
}

// waitEnded waits until the supervision has recorded the container's end, for at most limit; negative: without limit.
func (e *Engine) waitEnded(ctx context.Context, u *Unit, limit time.Duration) error {
	if limit >= 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	return u.Wait(ctx, func(s container.State) (bool, error) { return !s.Alive(), nil })
}

// signal sends sig to the container's first process; one that has just ended is no error. A frozen container is thawed
// after the signal, or it could not act on it: as docker does it, but for a signal other than SIGKILL that is not the one
// which the container is configured to be stopped with.
func (e *Engine) signal(ctx context.Context, u *Unit, p *runtime.Container, sig syscall.Signal) error {
	err := p.Kill(sig)
	if errors.Is(err, runtime.ErrNotRunning) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("send %s: %w", SignalName(int(sig)), err)
	}
	e.Publish(u, events.ActionKill, "signal", strconv.Itoa(int(sig)))
	own, err := ParseSignal(u.Config.StopSignal)
	if err != nil {
		return err
	}
	if u.Snapshot().Status == container.Paused && (u.Config.StopSignal == "" || sig == own || sig == unix.SIGKILL) {
		thaw := e.thaw
		if sig == unix.SIGKILL {
			thaw = e.release // it will not live to see it
		}
		if err := thaw(ctx, u, p); err != nil && !errors.Is(err, runtime.ErrNotRunning) {
			return fmt.Errorf("unpause for %s: %w", SignalName(int(sig)), err)
		}
	}
	return nil
}

// KillUnit sends a signal on the user's behalf. With SIGKILL it waits for the end. A container that does not run is no error.
func (e *Engine) KillUnit(ctx context.Context, u *Unit, name string) error {
	if name == "" {
		name = "SIGKILL"
	}
	sig, err := ParseSignal(name)
	if err != nil {
		return err
	}
	if u.Stopped() {
		return nil
	}
	_, err = u.update(func(s *container.State) {
		s.Asked = asked(ctx, int(sig))
		if u.meansStop(sig) {
			s.Stopped = true
			if isRestarting(*s) { // docker ends its restarts, too
				s.Status = container.Exited
			}
		}
	})
	if err != nil {
		e.abandon(u)
		return err
	}
	p, err := u.Process(ctx)
	if err != nil {
		return err
	}
	if p == nil {
		e.abandon(u)
		return nil
	}
	if err := e.signal(ctx, u, p, sig); err != nil || sig != unix.SIGKILL {
		return err
	}
	for {
		err := u.Wait(ctx, func(s container.State) (bool, error) { return s.Status != container.Running, nil })
		if err != nil || u.Snapshot().Status != container.Paused {
			return err
		}
		if err := e.release(ctx, u, p); err != nil && !errors.Is(err, runtime.ErrNotRunning) { // paused in just that moment
			return err
		}
	}
}

// meansStop tells whether who sends a signal wants the container to stay down. docker takes any signal for that unless the
// container has a stop signal of its own, so that a reload by SIGHUP ends all restarts. Here it is the container's stop
// signal, and those that end a program and do nothing else.
func (u *Unit) meansStop(sig syscall.Signal) bool {
	stop, err := ParseSignal(u.Config.StopSignal)
	return err == nil && sig == stop || sig == unix.SIGKILL || sig == unix.SIGTERM || sig == unix.SIGINT || sig == unix.SIGQUIT
}

// RemoveUnit deletes a container that does not run, or one that does with force. withVolumes removes its anonymous volumes.
func (e *Engine) RemoveUnit(ctx context.Context, u *Unit, force, withVolumes bool) error {
	u.op.Lock()
	defer u.op.Unlock()
	if u.isRemoved() {
		return nil
	}
	if u.Snapshot().Alive() {
		if !force {
			return inUse(fmt.Sprintf("container %s is running: stop it first, or use --force", u.Name()))
		}
		zero := time.Duration(0)
		if err := e.stopLocked(ctx, u, &zero, ""); err != nil {
			return err
		}
	}
	u.mu.Lock()
	u.removed = true
	u.mu.Unlock()
	defer u.gate.Close()()
	if err := u.captured().Close(); err != nil {
		return err
	}
	// A rename is one step: a crash leaves the whole container or none of it.
	if err := e.discard(u.dir); err != nil {
		return err
	}
	e.mu.Lock()
	delete(e.units, u.ID)
	e.mu.Unlock()
	var errs []error
	for _, m := range u.Config.Mounts { // before those know who wait for its removal
		if withVolumes && m.Anonymous && len(e.volumeUsers(m.Source)) == 0 {
			errs = append(errs, e.DropVolume(m.Source))
		}
	}
	if _, err := u.update(func(s *container.State) { s.Status = container.Dead }); err != nil {
		return errors.Join(append(errs, err)...)
	}
	e.abandon(u)
	e.bus.send(change{kind: changeRemoved, unit: u})
	return errors.Join(errs...)
}

func (u *Unit) isRemoved() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.removed
}
