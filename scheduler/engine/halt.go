package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"tutti/scheduler/api"
	"tutti/scheduler/container"
)

var errHalting = errors.New("the host is going down: nothing is started any more")

// Halt ends every container because the host goes down: those that depend on others first, each within its own grace period.
// It does not count as stopped by the user, so that restart policies bring containers back at boot; until then nothing is
// started any more.
func (e *Engine) Halt(ctx context.Context, _ api.HaltRequest, emit func(api.Event)) error {
	e.halting.Store(true)
	units := e.SelectUnits(func(*container.Config) bool { return true })
	ended := map[*Unit]chan struct{}{}
	for _, u := range units {
		ended[u] = make(chan struct{})
	}
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex // guards errs and emit
		errs []error
	)
	for _, u := range units {
		wg.Go(func() {
			defer close(ended[u])
			for _, v := range units {
				if dependsOn(&v.Config, &u.Config) {
					<-ended[v]
				}
			}
			was, err := e.halt(ctx, u)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, fmt.Errorf("container %s: %w", u.Name(), err))
			} else if was {
				emit(api.Event{Kind: api.KindResource, Resource: "Container", Name: u.Name(), Status: "Stopped", Phase: api.PhaseDone})
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// dependsOn tells whether a names b's service in its dependencies. A model has no cycles.
func dependsOn(a, b *container.Config) bool {
	if a.Project != b.Project || a.Service == b.Service {
		return false
	}
	for _, d := range a.DependsOn {
		if d.Service == b.Service {
			return true
		}
	}
	return false
}

// halt ends one container; was says whether it ran.
func (e *Engine) halt(ctx context.Context, u *Unit) (was bool, err error) {
	u.op.Lock()
	defer u.op.Unlock()
	p := u.Running()
	if p == nil || !u.Snapshot().Alive() {
		return false, nil
	}
	sig, err := ParseSignal(u.Config.StopSignal)
	if err != nil {
		return true, err
	}
	return true, e.end(ctx, u, p, sig, u.Config.StopGrace)
}
