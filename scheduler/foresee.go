package scheduler

import (
	"context"
	"time"

	"tutti/scheduler/api"
	"tutti/scheduler/forecast"
	"tutti/scheduler/plan"
)

// Plan tells what `up` would do, and changes nothing. What would keep `up` from beginning is an error here, too.
func (s *Scheduler) Plan(ctx context.Context, q api.PlanRequest, emit func(api.Event)) error {
	r, end, err := s.begin(ctx, "", q.Project, q.Client, emit)
	if err != nil {
		return err
	}
	defer end()
	r.warn()
	o := upOptions(q.Options)
	state, f, err := r.foresee(ctx, o)
	if err != nil {
		return err
	}
	p := forecast.Of(forecast.Question{Project: r.project, State: state, Options: o, Foresight: f, ShowSecrets: q.ShowSecrets})
	r.emit(api.Event{Kind: api.KindPlan, Plan: &p, Changes: p.Changes})
	return nil
}

// foresee observes, and plans what `up` would do. It checks the plan as `up` does.
func (r *run) foresee(ctx context.Context, o plan.Options) (plan.State, plan.Foresight, error) {
	state, err := r.observe(ctx)
	if err != nil {
		return state, plan.Foresight{}, err
	}
	f, err := plan.Foresee(r.project, state, o)
	if err != nil {
		return state, f, err
	}
	// The order in which ports pass on is part of it.
	same := f.Perhaps == f.Sure
	if f.Sure, err = r.preflight(f.Sure); same {
		f.Perhaps = f.Sure
	}
	return state, f, err
}

// warn passes on what is to be said of the compose files.
func (r *run) warn() {
	for _, w := range r.project.Warnings() {
		r.emit(api.Event{Kind: api.KindWarning, Text: w})
	}
}

// upOptions are the planner's of the flags of `up`.
func upOptions(o api.UpOptions) plan.Options {
	return plan.Options{
		Services: o.Services, NoDeps: o.NoDeps, ForceRecreate: o.ForceRecreate, NoRecreate: o.NoRecreate, AlwaysRecreateDeps: o.AlwaysRecreateDeps,
		RemoveOrphans: o.RemoveOrphans, Scale: o.Scale, Build: o.Build, NoBuild: o.NoBuild, Pull: o.Pull, NoStart: o.NoStart,
		RenewAnonVolumes: o.RenewAnonVolumes, Wait: o.Wait, Timeout: seconds(o.Timeout), Now: time.Now(),
	}
}
