package engine

import (
	"context"
	"errors"
	"fmt"

	"tutti/runtime"
	"tutti/scheduler/api"
	"tutti/scheduler/container"
)

// RunOptions of runAttached.
type RunOptions struct {
	Size       api.Size // of the client's terminal
	Detach     bool     // nobody waits for the end
	AutoRemove bool     // a container that cannot be started is removed
	Keep       bool     // it was there before, and stays whatever happens
}

// StartAttached is Attach to a container that is started when it does not run, with a terminal of that size.
func (e *Engine) StartAttached(ctx context.Context, name string, size api.Size, begun func(api.Begun), s Streams) (int, error) {
	u, err := e.FindUnit(name)
	if err != nil {
		return exitNotMade, err
	}
	switch st := u.Snapshot(); {
	case st.Status == container.Paused:
		return exitNotMade, fmt.Errorf("%w: cannot start a paused container, try unpause instead", ErrConflict)
	case st.Alive():
		return e.Attach(ctx, u.ID, AttachTo{Begun: begun}, s)
	}
	return e.RunAttached(ctx, u, RunOptions{AutoRemove: u.Config.AutoRemove, Keep: true, Size: size}, begun, s)
}

// exitNotMade is the exit code where nothing was started.
const exitNotMade = 1

// RunAttached starts a container with the client attached and returns the exit code of its process, or with an error the
// one that says what failed. A client that goes before the container runs calls it off; later it leaves the container alone.
func (e *Engine) RunAttached(ctx context.Context, u *Unit, o RunOptions, begun func(api.Begun), s Streams) (int, error) {
	if o.Size != (api.Size{}) {
		u.setSize(o.Size)
	}
	a, err := e.attach(u, false)
	if err == nil {
		err = e.StartUnit(ctx, u)
	}
	if err != nil {
		code := runtime.ExitCode(err)
		if a != nil {
			a.sub.Close()
		}
		if o.AutoRemove || ctx.Err() != nil && !o.Keep { // who has called it off does not want it
			err = errors.Join(err, e.RemoveUnit(context.WithoutCancel(ctx), u, true, true))
		}
		if u.Config.Service == "" {
			return code, fmt.Errorf("container %s: %w", u.Name(), err)
		}
		return code, fmt.Errorf("service %q: container %s: %w", u.Config.Service, u.Name(), err)
	}
	l := u.latestLife()
	begun(u.begun(a, l))
	if o.Detach {
		a.sub.Close()
		return 0, nil
	}
	return a.stream(ctx, l, s)
}
