package scheduler

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"tutti/project"
	"tutti/scheduler/api"
)

// killProject sends a signal to the containers of the services, of all in the model by default, or with q.RemoveOrphans of
// all that the project has. It does not wait for its turn: it is how a stop that takes too long is cut short.
func (e *Engine) killProject(ctx context.Context, q api.ServicesRequest, emit func(api.Event)) error {
	model, err := e.modelOf(q)
	if err != nil {
		return err
	}
	if _, err := ParseSignal(q.Signal); err != nil {
		return err
	}
	var errs []error
	found := false
	for _, u := range e.projectUnits(q.Name) {
		if u.stopped() || len(q.Services) > 0 && !slices.Contains(q.Services, u.config.Service) {
			continue
		}
		if model != nil && !q.RemoveOrphans {
			if _, has := model.Services[u.config.Service]; !has {
				continue
			}
		}
		found = true
		if q.DryRun {
			emit(api.Event{Kind: api.KindPlan, Text: "kill container " + u.config.Name, Changes: 1})
			continue
		}
		tell := func(status string, phase api.Phase) {
			emit(api.Event{Kind: api.KindResource, Resource: "Container", Name: u.config.Name, Status: status, Phase: phase})
		}
		tell("Killing", api.PhaseWorking)
		if err := e.kill(ctx, u, q.Signal); err != nil {
			tell("Error while Killing", api.PhaseError)
			errs = append(errs, fmt.Errorf("container %s: %w", u.config.Name, err))
			continue
		}
		tell("Killed", api.PhaseDone)
	}
	if !found {
		emit(api.Event{Kind: api.KindWarning, Text: "No container to kill"})
	}
	return errors.Join(errs...)
}

// modelOf is the model of a request, or the one that was applied last; nil when there is neither.
func (e *Engine) modelOf(q api.ServicesRequest) (*project.Project, error) {
	if len(q.Project) == 0 {
		return e.appliedModel(q.Name)
	}
	p, err := project.Decode(q.Project)
	if err != nil {
		return nil, fmt.Errorf("read the project: %w", err)
	}
	return p, nil
}
