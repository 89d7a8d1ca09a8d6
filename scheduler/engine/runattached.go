package engine

import (
	"context"
	"errors"
	"fmt"

	"tutti/runtime"
	"tutti/scheduler/api"
)

// RunOptions of runAttached.
type RunOptions struct {
	Size       api.Size // of the client's terminal
	Detach     bool     // nobody waits for the end
	AutoRemove bool     // a container that cannot be started is removed
}

// RunAttached starts a container with the client attached and returns the exit code of its process, or with an error the
// one that says what failed. A client that goes before the container runs calls it off; later it leaves the container alone.
func (e *Engine) RunAttached(ctx context.Context, u *Unit, o RunOptions, begun func(api.Begun), s Streams) (int, error) {
	u.size = o.Size
	a, err := e.attach(u, false)
	if err == nil {
		err = e.StartUnit(ctx, u)
	}
	if err != nil {
		code := runtime.ExitCode(err)
		if a != nil {
			a.sub.Close()
		}
		if o.AutoRemove || ctx.Err() != nil { // who has called it off does not want it
			err = errors.Join(err, e.RemoveUnit(context.WithoutCancel(ctx), u, true, true))
		}
		return code, fmt.Errorf("service %q: container %s: %w", u.Config.Service, u.Config.Name, err)
	}
	l := u.latestLife()
	begun(u.begun(a, l))
	if o.Detach {
		a.sub.Close()
		return 0, nil
	}
	return a.stream(ctx, l, s)
}
