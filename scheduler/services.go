package scheduler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"tutti/project"
	"tutti/scheduler/api"
	"tutti/scheduler/container"
	"tutti/scheduler/plan"
)

// Services starts, stops, restarts, kills, pauses or unpauses services of a project, where it matters in the order of their
// dependencies.
func (e *Engine) Services(ctx context.Context, verb string, q api.ServicesRequest, emit func(api.Event)) error {
	switch verb {
	case "kill":
		return e.killProject(ctx, q, emit)
	case "rm":
		return e.removeStopped(ctx, q, emit)
	case "pause", "unpause":
		return e.pauseServices(ctx, verb, q, emit)
	}
	r, end, err := e.begin(ctx, q.Name, q.Project, api.ClientContext{}, emit)
	if err != nil {
		return err
	}
	defer end()
	state, err := r.observe(ctx)
	if err != nil {
		return err
	}
	var p *plan.Plan
	switch verb {
	case "start":
		p, err = plan.StartPlan(r.name, state, q.Services)
	case "stop":
		p, err = plan.StopPlan(r.name, state, q.Services, seconds(q.Timeout))
	case "restart":
		p, err = plan.RestartPlan(r.name, state, q.Services, q.NoDeps, seconds(q.Timeout))
	default:
		return fmt.Errorf("verb %q is unknown", verb)
	}
	if err != nil {
		return err
	}
	if q.DryRun {
		r.emit(api.Event{Kind: api.KindPlan, Text: p.String(), Changes: len(p.Ops)})
		return nil
	}
	began := time.Now()
	err = r.walk(ctx, p, 0)
	if verb != "stop" {
		r.remember(verb, q.Services, began, err)
	}
	if err != nil || !q.Wait {
		return err
	}
	return r.awaitServices(ctx, q.Services)
}

// awaitServices waits until services are running or healthy.
func (r *run) awaitServices(ctx context.Context, services []string) error {
	var errs []error
	for _, u := range r.e.projectUnits(r.name) {
		if len(services) == 0 || slices.Contains(services, u.config.Service) {
			errs = append(errs, r.awaitUnit(ctx, plan.Op{Kind: plan.AwaitHealthy, Service: u.config.Service}, u))
		}
	}
	return errors.Join(errs...)
}

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

// pauseServices pauses or unpauses the running containers of a project's services.
func (e *Engine) pauseServices(ctx context.Context, verb string, q api.ServicesRequest, emit func(api.Event)) error {
	r, end, err := e.begin(ctx, q.Name, q.Project, api.ClientContext{}, emit)
	if err != nil {
		return err
	}
	defer end()
	do, done := e.pause, "Paused"
	if verb == "unpause" {
		do, done = e.unpause, "Unpaused"
	}
	var errs []error
	for _, u := range e.projectUnits(r.name) {
		if !r.concerns(u, q.Services) || !u.snapshot().Alive() || u.config.OneOff {
			continue
		}
		if q.DryRun {
			r.emit(api.Event{Kind: api.KindPlan, Text: verb + " container " + u.config.Name, Changes: 1})
			continue
		}
		if err := do(ctx, u); err != nil {
			errs = append(errs, err)
			continue
		}
		r.emit(api.Event{Kind: api.KindResource, Resource: "Container", Name: u.config.Name, Status: done, Phase: api.PhaseDone})
	}
	return errors.Join(errs...)
}

// concerns says whether a container belongs to one of the services, or with none named to any of the model's.
func (r *run) concerns(u *unit, services []string) bool {
	if len(services) > 0 {
		return slices.Contains(services, u.config.Service)
	}
	if r.project == nil {
		return true
	}
	_, has := r.project.Services[u.config.Service]
	return has
}
