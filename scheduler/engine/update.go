package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/moby/moby/api/types/events"

	"tutti/runtime"
	"tutti/scheduler/container"
)

// UpdateContainer changes the limits and the restart policy of a container, while it runs too. change says what they become, of
// the configuration as it is now. They last until the next change, whatever restarts. It returns warnings about what this host
// cannot limit.
func (e *Engine) UpdateContainer(ctx context.Context, name string, change func(*container.Config) (container.Updated, error)) ([]string, error) {
	u, err := e.FindUnit(name)
	if err != nil {
		return nil, err
	}
	u.op.Lock()
	defer u.op.Unlock()
	if u.isRemoved() {
		return nil, fmt.Errorf("%w: container %s is marked for removal and cannot be updated", ErrConflict, u.Name())
	}
	now := u.Now()
	next, err := change(now)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	wanted := *now
	wanted.Limits, wanted.Restart = next.Limits, next.Restart
	_, warnings, err := e.Fit(wanted)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	p := u.Running()
	if p != nil {
		err = e.limit(p, wanted)
	}
	if err == nil {
		_, err = u.updateNow(func(s *container.State) { s.Updated = &next })
	}
	if err != nil {
		if p != nil {
			err = errors.Join(err, e.limit(p, *now))
		}
		return nil, fmt.Errorf("cannot update container %s: %w", u.Name(), err)
	}
	e.Publish(u, events.ActionUpdate)
	return warnings, nil
}

// limit gives a running process the limits of a configuration, as far as this host has them. One that has just ended needs none.
func (e *Engine) limit(p *runtime.Container, c container.Config) error {
	fitted, _, err := e.Fit(c)
	if err != nil {
		return err
	}
	r, err := fitted.CgroupLimits()
	if err != nil {
		return err
	}
	if err := p.Update(r); err != nil && p.State().Status != runtime.StatusStopped {
		return err
	}
	return nil
}
