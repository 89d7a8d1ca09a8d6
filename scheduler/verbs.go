package scheduler

import (
	"context"
	"fmt"
	"time"

	"tutti/scheduler/api"
	"tutti/scheduler/plan"
)

// Up makes what the model says true: observe, plan, apply. What is true already is left alone.
func (s *Scheduler) Up(ctx context.Context, q api.UpRequest, emit func(api.Event)) (err error) {
	r, end, err := s.begin(ctx, "", q.Project, q.Client, emit)
	if err != nil {
		return err
	}
	defer end()
	o := q.Options
	if began := time.Now(); !o.DryRun {
		defer func() { r.remember("up", o.Services, began, err) }()
	}
	options := upOptions(o)
	r.warn()
	if o.DryRun {
		_, f, err := r.foresee(ctx, options)
		if err == nil {
			r.emit(api.Event{Kind: api.KindPlan, Text: f.Sure.String(), Changes: len(f.Sure.Ops)})
		}
		return err
	}
	if err := r.saveModel(q.Project); err != nil {
		return fmt.Errorf("remember the model: %w", err)
	}
	if o.Wait && o.WaitTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, o.WaitTimeout, fmt.Errorf("the project is not ready after %s (--wait-timeout)", o.WaitTimeout))
		defer cancel()
	}
	for {
		state, err := r.observe(ctx)
		if err != nil {
			return err
		}
		p, err := plan.Diff(r.project, state, options)
		if err != nil {
			return err
		}
		if p, err = r.preflight(p); err != nil {
			return err
		}
		r.chronicle.planned(p)
		r.tellUnchanged(p, state, options)
		if err := r.carryOut(ctx, p, o.Parallel); err != nil {
			return err
		}
		if !p.Replan {
			return nil
		}
		options.ImagesFresh = true
	}
}

// tellUnchanged says of the containers that the plan leaves alone that they run.
func (r *run) tellUnchanged(p *plan.Plan, s plan.State, o plan.Options) {
	if p.Replan {
		return
	}
	touched := map[string]bool{}
	for _, op := range p.Ops {
		if !op.Kind.Waits() {
			touched[op.Container] = true
		}
	}
	selected := map[string]bool{}
	names := o.Services
	if len(names) == 0 {
		names = r.project.ServiceNames()
	} else if !o.NoDeps {
		names = r.project.Graph().With(names...)
	}
	for _, n := range names {
		selected[n] = true
	}
	for _, c := range s.Containers {
		if c.Status == plan.Running && selected[c.Service] && !c.OneOff && !touched[c.Name] {
			r.emit(api.Event{Kind: api.KindResource, Resource: "Container", Name: c.Name, Status: "Running", Phase: api.PhaseDone})
		}
	}
}

// Down takes a project away. What is gone already is no error.
func (s *Scheduler) Down(ctx context.Context, q api.DownRequest, emit func(api.Event)) error {
	r, end, err := s.begin(ctx, q.Name, q.Project, api.ClientContext{}, emit)
	if err != nil {
		return err
	}
	defer end()
	state, err := r.observe(ctx)
	if err != nil {
		return err
	}
	p := plan.DownPlan(r.name, r.project, state, plan.DownOptions{
		Services: q.Services, Volumes: q.Volumes, RemoveOrphans: q.RemoveOrphans, RMI: q.RMI, Timeout: seconds(q.Timeout),
	})
	if q.DryRun {
		r.emit(api.Event{Kind: api.KindPlan, Text: p.String(), Changes: len(p.Ops)})
		return nil
	}
	if p.Empty() {
		r.emit(api.Event{Kind: api.KindWarning, Text: fmt.Sprintf("No resource found to remove for project %q.", r.name)})
	}
	if err := r.carryOut(ctx, p, 0); err != nil {
		return err
	}
	if len(q.Services) == 0 {
		return r.dropModel()
	}
	return nil
}
