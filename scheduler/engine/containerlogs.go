package engine

import (
	"context"
	"fmt"

	"tutti/runtime/logs"
	"tutti/scheduler/container"
)

// ContainerLogs gives out what one container has logged and, with Follow, what it logs until it ends. begun is called before the
// first entry, with whether the container has a terminal.
func (e *Engine) ContainerLogs(ctx context.Context, name string, o logs.ReadOptions, begun func(tty bool), emit func(logs.Entry) error) error {
	u, err := e.FindUnit(name)
	if err != nil {
		return err
	}
	if u.Log == nil {
		return fmt.Errorf("%w: container %s: configured logging driver does not support reading", ErrInvalid, u.Name())
	}
	st := u.Snapshot()
	o.Follow = o.Follow && (st.Alive() || st.Status == container.Restarting)
	begun(u.Config.TTY)
	err = u.Log.Read(ctx, o, func(l logs.Entry) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return emit(l)
	})
	if err != nil && ctx.Err() == nil && !u.isRemoved() {
		return fmt.Errorf("read the log of %s: %w", u.Name(), err)
	}
	return nil
}

// LogPath is the file that a container's output is kept in; "" when it is kept in none.
func (e *Engine) LogPath(id string) string {
	u, err := e.FindUnit(id)
	if err != nil || u.Log == nil {
		return ""
	}
	return u.logPath()
}
