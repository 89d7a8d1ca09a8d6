package scheduler

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tutti/runtime"
	"tutti/scheduler/container"
)

// stop asks a container to end and kills it after its grace period, or timeout where that is given. It returns when the
// container has ended and its end is recorded. A container that does not run is no error.
func (e *Engine) stop(ctx context.Context, u *unit, timeout *time.Duration) error {
	u.op.Lock()
	defer u.op.Unlock()
	return e.stopLocked(ctx, u, timeout)
}

func (e *Engine) stopLocked(ctx context.Context, u *unit, timeout *time.Duration) error {
	s, err := u.update(func(s *container.State) {
		s.Stopped = true
		if s.Status == container.Restarting {
			s.Status = container.Exited
		}
	})
	if err != nil {
		return err
	}
	p := u.running()
	if p == nil || !s.Alive() {
		return nil
	}
	grace := u.config.StopGrace
	if timeout != nil {
		grace = *timeout
	}
	sig, err := ParseSignal(u.config.StopSignal)
	if err != nil {
		return err
	}
	if grace != 0 {
		if err := e.signal(ctx, u, p, sig); err != nil {
			return err
		}
		if err := e.waitEnded(ctx, u, grace); !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
			return err
		}
	}
	if err := e.signal(ctx, u, p, unix.SIGKILL); err != nil {
		return err
	}
	return e.waitEnded(ctx, u, -1)
}

// waitEnded waits until the supervision has recorded the container's end, for at most limit; negative: without limit.
func (e *Engine) waitEnded(ctx context.Context, u *unit, limit time.Duration) error {
	if limit >= 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	return u.wait(ctx, func(s container.State) (bool, error) { return !s.Alive(), nil })
}

// signal sends sig to the container's first process; one that has just ended is no error. A frozen container is thawed
// after the signal, as docker does, or it could not act on it.
func (e *Engine) signal(ctx context.Context, u *unit, p *runtime.Container, sig syscall.Signal) error {
	err := p.Kill(sig)
	if errors.Is(err, runtime.ErrNotRunning) {
		return nil
	}
	if err == nil && u.snapshot().Status == container.Paused {
		err = p.Resume(ctx)
	}
	if err != nil {
		return fmt.Errorf("send %s: %w", unix.SignalName(sig), err)
	}
	return nil
}

// kill sends a signal on the user's behalf. With SIGKILL it waits for the end.
func (e *Engine) kill(ctx context.Context, u *unit, name string) error {
	if name == "" {
		name = "SIGKILL"
	}
	sig, err := ParseSignal(name)
	if err != nil {
		return err
	}
	p := u.running()
	if p == nil {
		return nil
	}
	if sig == unix.SIGKILL || sig == unix.SIGTERM || sig == unix.SIGINT {
		if _, err := u.update(func(s *container.State) { s.Stopped = true }); err != nil {
			return err
		}
	}
	if err := e.signal(ctx, u, p, sig); err != nil {
		return err
	}
	if sig == unix.SIGKILL {
		return e.waitEnded(ctx, u, -1)
	}
	return nil
}

// remove deletes a container that does not run, or one that does with force. withVolumes removes its anonymous volumes.
func (e *Engine) remove(ctx context.Context, u *unit, force, withVolumes bool) error {
	u.op.Lock()
	defer u.op.Unlock()
	if u.isRemoved() {
		return nil
	}
	if u.snapshot().Alive() {
		if !force {
			return inUse(fmt.Sprintf("container %s is running: stop it first, or use --force", u.config.Name))
		}
		zero := time.Duration(0)
		if err := e.stopLocked(ctx, u, &zero); err != nil {
			return err
		}
	}
	u.mu.Lock()
	u.removed = true
	u.mu.Unlock()
	if u.log != nil {
		if err := u.log.Close(); err != nil {
			return err
		}
	}
	// A rename is one step: a crash leaves the whole container or none of it.
	if err := e.discard(u.dir); err != nil {
		return err
	}
	e.mu.Lock()
	delete(e.units, u.id)
	e.mu.Unlock()
	if _, err := u.update(func(s *container.State) { s.Status = container.Dead }); err != nil {
		return err
	}
	e.bus.send(change{kind: changeRemoved, unit: u})
	if !withVolumes {
		return nil
	}
	var errs []error
	for _, m := range u.config.Mounts {
		if m.Anonymous {
			errs = append(errs, e.volumes.Remove(m.Source))
		}
	}
	return errors.Join(errs...)
}

func (u *unit) isRemoved() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.removed
}

// ParseSignal reads a signal's name, with or without SIG, or number; "" is SIGTERM.
func ParseSignal(s string) (syscall.Signal, error) {
	if s == "" {
		return unix.SIGTERM, nil
	}
	if n, err := strconv.Atoi(s); err == nil && n > 0 && n <= 64 {
		return syscall.Signal(n), nil
	}
	name := strings.ToUpper(s)
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	if rest, ok := strings.CutPrefix(name, "SIGRTMIN+"); ok {
		if n, err := strconv.Atoi(rest); err == nil && n >= 0 && n <= 30 {
			return syscall.Signal(34 + n), nil
		}
	}
	if sig := unix.SignalNum(name); sig != 0 {
		return sig, nil
	}
	return 0, fmt.Errorf("%q is no signal", s)
}
