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
	"tutti/scheduler/engine"
	"tutti/scheduler/plan"
)

// Services starts, stops, restarts, kills, pauses or unpauses services of a project, where it matters in the order of their
// dependencies.
func (s *Scheduler) Services(ctx context.Context, verb string, q api.ServicesRequest, emit func(api.Event)) error {
	switch verb {
	case "kill":
		return s.killProject(ctx, q, emit)
	case "rm":
		return s.removeStopped(ctx, q, emit)
	case "pause", "unpause":
		return s.pauseServices(ctx, verb, q, emit)
	}
	r, end, err := s.begin(ctx, q.Name, q.Project, api.ClientContext{}, emit)
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
	err = r.carryOut(ctx, p, 0)
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
	for _, u := range r.s.ProjectUnits(r.name) {
		if len(services) == 0 || slices.Contains(services, u.Config.Service) {
			errs = append(errs, r.awaitUnit(ctx, plan.Op{Kind: plan.AwaitHealthy, Service: u.Config.Service}, u))
		}
	}
	return errors.Join(errs...)
}

// killProject sends a signal to the containers of the services, of all in the model by default, or with q.RemoveOrphans of
// all that the project has. It does not wait for its turn: it is how a stop that takes too long is cut short.
func (s *Scheduler) killProject(ctx context.Context, q api.ServicesRequest, emit func(api.Event)) error {
	model, err := s.modelOf(q)
	if err != nil {
		return err
	}
	if _, err := engine.ParseSignal(q.Signal); err != nil {
		return err
	}
	var errs []error
	found := false
	for _, u := range s.ProjectUnits(q.Name) {
		if u.Stopped() || len(q.Services) > 0 && !slices.Contains(q.Services, u.Config.Service) {
			continue
		}
		if model != nil && !q.RemoveOrphans {
			if _, has := model.Services[u.Config.Service]; !has {
				continue
			}
		}
		found = true
		if q.DryRun {
			emit(api.Event{Kind: api.KindPlan, Text: "kill container " + u.Name(), Changes: 1})
			continue
		}
		tell := func(status string, phase api.Phase) {
			emit(api.Event{Kind: api.KindResource, Resource: "Container", Name: u.Name(), Status: status, Phase: phase})
		}
		tell("Killing", api.PhaseWorking)
		if err := s.KillUnit(ctx, u, q.Signal); err != nil {
			tell("Error while Killing", api.PhaseError)
			errs = append(errs, fmt.Errorf("container %s: %w", u.Name(), err))
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
func (s *Scheduler) modelOf(q api.ServicesRequest) (*project.Project, error) {
	if len(q.Project) == 0 {
		return s.AppliedModel(q.Name)
	}
	p, err := project.Decode(q.Project)
	if err != nil {
		return nil, fmt.Errorf("read the project: %w", err)
	}
	return p, nil
}

// removeStopped removes the containers of a project's services that do not run.
func (s *Scheduler) removeStopped(ctx context.Context, q api.ServicesRequest, emit func(api.Event)) error {
	r, end, err := s.begin(ctx, q.Name, q.Project, api.ClientContext{}, emit)
	if err != nil {
		return err
	}
	defer end()
	var errs []error
	for _, u := range s.ProjectUnits(r.name) {
		state := u.Snapshot()
		if !r.concerns(u, q.Services) || u.Config.OneOff || state.Alive() || state.Status == container.Restarting {
			continue
		}
		if q.DryRun {
			r.emit(api.Event{Kind: api.KindPlan, Text: "remove container " + u.Name(), Changes: 1})
			continue
		}
		tell := func(status string, phase api.Phase) {
			r.emit(api.Event{Kind: api.KindResource, Resource: "Container", Name: u.Name(), Status: status, Phase: phase})
		}
		tell("Removing", api.PhaseWorking)
		if err := s.RemoveUnit(ctx, u, false, q.Volumes); err != nil {
			tell("Error", api.PhaseError)
			errs = append(errs, fmt.Errorf("container %s: %w", u.Name(), err))
			continue
		}
		tell("Removed", api.PhaseDone)
	}
	return errors.Join(errs...)
}

// pauseServices pauses or unpauses the running containers of a project's services.
func (s *Scheduler) pauseServices(ctx context.Context, verb string, q api.ServicesRequest, emit func(api.Event)) error {
	r, end, err := s.begin(ctx, q.Name, q.Project, api.ClientContext{}, emit)
	if err != nil {
		return err
	}
	defer end()
	do, done := s.PauseUnit, "Paused"
	if verb == "unpause" {
		do, done = s.UnpauseUnit, "Unpaused"
	}
	var errs []error
	for _, u := range s.ProjectUnits(r.name) {
		if !r.concerns(u, q.Services) || !u.Snapshot().Alive() || u.Config.OneOff {
			continue
		}
		if q.DryRun {
			r.emit(api.Event{Kind: api.KindPlan, Text: verb + " container " + u.Name(), Changes: 1})
			continue
		}
		if err := do(ctx, u); err != nil {
			errs = append(errs, err)
			continue
		}
		r.emit(api.Event{Kind: api.KindResource, Resource: "Container", Name: u.Name(), Status: done, Phase: api.PhaseDone})
	}
	return errors.Join(errs...)
}

// concerns says whether a container belongs to one of the services, or with none named to any of the model's.
func (r *run) concerns(u *engine.Unit, services []string) bool {
	if len(services) > 0 {
		return slices.Contains(services, u.Config.Service)
	}
	if r.project == nil {
		return true
	}
	_, has := r.project.Services[u.Config.Service]
	return has
}
