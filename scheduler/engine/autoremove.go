package engine

import (
	"context"
	"time"

	"tutti/scheduler/container"
)

// comesBackWithin is how long a client that an engine's death has cut off from a container with --rm is waited for.
const comesBackWithin = 10 * time.Second

// autoRemove removes a container that was to last no longer than its process, with its anonymous volumes. Who is attached
// reads on.
func (e *Engine) autoRemove(ctx context.Context, u *Unit) {
	if u.back != nil {
		e.removeLater(u)
		return
	}
	if err := e.RemoveUnit(ctx, u, false, true); err != nil {
		e.Log.Error("remove the container (--rm)", "container", u.Name(), "error", err)
	}
}

// removeLater is autoRemove for a container that an earlier engine started: whoever was attached to it then is going to
// ask for the rest of its output and how it ended.
func (e *Engine) removeLater(u *Unit) {
	e.Background("remove container "+u.Name()+" (--rm)", func() error {
		timer := time.NewTimer(comesBackWithin)
		defer timer.Stop()
		select {
		case <-u.back:
		case <-timer.C:
		case <-e.ctx.Done():
			return nil // the next engine's business
		}
		if s := u.Snapshot(); s.Alive() || s.Status == container.Restarting {
			return nil
		}
		return e.RemoveUnit(context.WithoutCancel(e.ctx), u, false, true)
	})
}

// returned notes that a client has come back that an engine's death had cut off, and has got everything.
func (u *Unit) returned() {
	if u.back != nil {
		u.backOnce.Do(func() { close(u.back) })
	}
}
