package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tutti/scheduler/container"
)

// What docker's clients do with one container, which is named by its name or id, or a prefix of that.

// StartContainer starts a container; changed is false when it runs already.
func (e *Engine) StartContainer(ctx context.Context, name string) (changed bool, err error) {
	u, err := e.FindUnit(name)
	if err != nil {
		return false, err
	}
	switch s := u.Snapshot(); {
	case s.Status == container.Paused:
		return false, fmt.Errorf("%w: cannot start a paused container, try unpause instead", ErrConflict)
	case s.Alive():
		return false, nil
	}
	if err = e.StartUnit(ctx, u); err != nil && u.Config.AutoRemove && !u.Snapshot().Alive() {
		err = errors.Join(err, e.RemoveUnit(context.WithoutCancel(ctx), u, false, true)) // it would never end
	}
	return true, err
}

// StopContainer stops a container; changed is false when it does not run. timeout is nil for its own grace period;
// negative: it is never killed. signal is "" for its own.
func (e *Engine) StopContainer(ctx context.Context, name string, timeout *time.Duration, signal string) (changed bool, err error) {
	u, err := e.FindUnit(name)
	if err != nil {
		return false, err
	}
	if s := u.Snapshot(); !s.Alive() && s.Status != container.Restarting {
		return false, nil
	}
	return true, e.stopUnitBy(ctx, u, timeout, signal)
}

// RestartContainer stops a container as StopContainer does, when it runs, and starts it.
func (e *Engine) RestartContainer(ctx context.Context, name string, timeout *time.Duration, signal string) error {
	u, err := e.FindUnit(name)
	if err != nil {
		return err
	}
	if err := e.restartOnce(ctx, u, timeout, signal); err != nil {
		return err
	}
	e.Publish(u, "restart")
	return e.postStart(ctx, u)
}

func (e *Engine) restartOnce(ctx context.Context, u *Unit, timeout *time.Duration, signal string) error {
	u.op.Lock()
	defer u.op.Unlock()
	if err := e.stopLocked(ctx, u, timeout, signal); err != nil {
		return err
	}
	return e.startLocked(ctx, u, byRequest, 0)
}

// KillContainer sends a signal to a container; "" is SIGKILL.
func (e *Engine) KillContainer(ctx context.Context, name, signal string) error {
	u, err := e.FindUnit(name)
	if err != nil {
		return err
	}
	if !u.Snapshot().Alive() {
		return fmt.Errorf("%w: cannot kill container %s: it is not running", ErrConflict, u.Name())
	}
	return e.KillUnit(ctx, u, signal)
}

// PauseContainer freezes a container.
func (e *Engine) PauseContainer(ctx context.Context, name string) error {
	u, err := e.FindUnit(name)
	if err != nil {
		return err
	}
	return e.PauseUnit(ctx, u)
}

// UnpauseContainer lets a frozen container go on.
func (e *Engine) UnpauseContainer(ctx context.Context, name string) error {
	u, err := e.FindUnit(name)
	if err != nil {
		return err
	}
	return e.UnpauseUnit(ctx, u)
}

// RemoveContainer removes a container, with force also one that runs.
func (e *Engine) RemoveContainer(ctx context.Context, name string, force, volumes bool) error {
	u, err := e.FindUnit(name)
	if err != nil {
		return err
	}
	return e.RemoveUnit(ctx, u, force, volumes)
}

// WaitContainer waits until a container does not run: at once for one that does not, or with docker's condition
// "next-exit" for its next end, with "removed" until it is gone. waiting is called once the wait has begun. The result is
// the exit code; a container that its restart policy starts again is waited for.
func (e *Engine) WaitContainer(ctx context.Context, name, condition string, waiting func()) (int, error) {
	u, err := e.FindUnit(name)
	if err != nil {
		return 0, err
	}
	var met func(container.State) bool
	switch finished := u.Snapshot().Finished; condition {
	case "", "not-running":
		met = func(s container.State) bool { return !s.Alive() && s.Status != container.Restarting }
	case "next-exit":
		met = func(s container.State) bool {
			return !s.Alive() && s.Finished != finished || s.Status == container.Dead
		}
	case "removed":
		met = func(s container.State) bool { return s.Status == container.Dead }
	default:
		return 0, fmt.Errorf("invalid condition: %q", condition)
	}
	waiting()
	code := 0
	err = u.Wait(ctx, func(s container.State) (bool, error) {
		code = s.ExitCode
		return met(s), nil
	})
	return code, err
}
