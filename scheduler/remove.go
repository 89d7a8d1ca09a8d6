package scheduler

import (
	"context"
	"errors"
	"fmt"

	"tutti/scheduler/api"
	"tutti/scheduler/container"
)

// removeStopped removes the containers of a project's services that do not run.
func (e *Engine) removeStopped(ctx context.Context, q api.ServicesRequest, emit func(api.Event)) error {
	r, end, err := e.begin(ctx, q.Name, q.Project, api.ClientContext{}, emit)
	if err != nil {
		return err
	}
	defer end()
	var errs []error
	for _, u := range e.projectUnits(r.name) {
		s := u.snapshot()
		if !r.concerns(u, q.Services) || u.config.OneOff || s.Alive() || s.Status == container.Restarting {
			continue
		}
		if q.DryRun {
			r.emit(api.Event{Kind: api.KindPlan, Text: "remove container " + u.config.Name, Changes: 1})
			continue
		}
		tell := func(status string, phase api.Phase) {
			r.emit(api.Event{Kind: api.KindResource, Resource: "Container", Name: u.config.Name, Status: status, Phase: phase})
		}
		tell("Removing", api.PhaseWorking)
		if err := e.remove(ctx, u, false, q.Volumes); err != nil {
			tell("Error", api.PhaseError)
			errs = append(errs, fmt.Errorf("container %s: %w", u.config.Name, err))
			continue
		}
		tell("Removed", api.PhaseDone)
	}
	return errors.Join(errs...)
}
