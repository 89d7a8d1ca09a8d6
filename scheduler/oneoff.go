package scheduler

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"tutti/project"
	"tutti/runtime"
	"tutti/scheduler/api"
	"tutti/scheduler/engine"
	"tutti/scheduler/netcheck"
	"tutti/scheduler/plan"
)

// Run makes one more container of a service, beside those of `up`, when all that it needs is there, and starts it with the
// client attached. It returns the exit code of the container's process, or with an error the one that says what failed.
// A client that goes before the container runs calls it off; later it leaves the container alone.
func (s *Scheduler) Run(ctx context.Context, q api.RunRequest, emit func(api.Event), begun func(api.Begun), streams engine.Streams) (int, error) {
	u, err := s.prepareRun(ctx, q, emit)
	if err != nil {
		return runtime.ExitCode(err), err
	}
	return s.RunAttached(ctx, u, engine.RunOptions{Size: q.Size, Detach: q.Detach, AutoRemove: q.AutoRemove}, begun, streams)
}

// prepareRun brings about what a container of `run` needs, and creates it.
func (s *Scheduler) prepareRun(ctx context.Context, q api.RunRequest, emit func(api.Event)) (*engine.Unit, error) {
	p, err := project.Decode(q.Project)
	if err != nil {
		return nil, fmt.Errorf("read the project: %w", err)
	}
	changed, err := p.WithOneOff(project.OneOff(q.OneOff))
	if err != nil {
		return nil, err
	}
	r := &run{s: s, name: p.Name, project: p, client: q.Client, losers: map[string]bool{}, kept: map[string]map[string]string{}}
	var mu sync.Mutex
	r.emit = func(ev api.Event) {
		mu.Lock()
		defer mu.Unlock()
		emit(ev)
	}
	for _, w := range p.Warnings() {
		r.emit(api.Event{Kind: api.KindWarning, Text: w})
	}
	if err := r.readyForRun(ctx, q); err != nil {
		return nil, err
	}
	return r.createOneOff(ctx, changed, q)
}

// readyForRun applies the plan of what a container of `run` needs. Most often there is nothing to do, which is found out
// without waiting for the project's turn.
func (r *run) readyForRun(ctx context.Context, q api.RunRequest) error {
	o := plan.Options{
		Services: []string{q.OneOff.Service}, OneOff: q.OneOff.Service, NoDeps: q.NoDeps, RemoveOrphans: q.RemoveOrphans, Build: q.Build, Pull: q.Pull,
		Now: time.Now(),
	}
	state, err := r.observe(ctx)
	if err != nil {
		return err
	}
	p, err := plan.Diff(r.project, state, o)
	if err != nil {
		return err
	}
	if !p.Empty() {
		unlock, err := r.s.LockProject(ctx, r.name)
		if err != nil {
			return err
		}
		defer unlock()
		if err := r.saveModel(q.Project); err != nil {
			return fmt.Errorf("remember the model: %w", err)
		}
		return r.reconcile(ctx, o, q.Parallel)
	}
	return r.tellDependencies(state, o)
}

// reconcile plans and applies until nothing is left to do. The caller has the project's turn.
func (r *run) reconcile(ctx context.Context, o plan.Options, parallel int) error {
	for {
		state, err := r.observe(ctx)
		if err != nil {
			return err
		}
		p, err := plan.Diff(r.project, state, o)
		if err != nil {
			return err
		}
		if p, err = r.preflight(p); err != nil {
			return err
		}
		if err := r.carryOut(ctx, p, parallel); err != nil {
			return err
		}
		if !p.Replan {
			return nil
		}
		o.ImagesFresh = true
	}
}

// tellDependencies says of the containers that a one-off depends on that they run.
func (r *run) tellDependencies(s plan.State, o plan.Options) error {
	if o.NoDeps || len(s.Containers) == 0 {
		return nil
	}
	needed := map[string]bool{}
	for _, name := range r.project.Graph().With(o.OneOff) {
		needed[name] = name != o.OneOff
	}
	for _, c := range s.Containers {
		if c.Status == plan.Running && needed[c.Service] && !c.OneOff {
			r.emit(api.Event{Kind: api.KindResource, Resource: "Container", Name: c.Name, Status: "Running", Phase: api.PhaseDone})
		}
	}
	return nil
}

// createOneOff creates the container. p is the project with the service as the flags of `run` want it.
func (r *run) createOneOff(ctx context.Context, p *project.Project, q api.RunRequest) (*engine.Unit, error) {
	service := q.OneOff.Service
	c, err := r.containerConfig(ctx, p, service, engine.NewID())
	if err != nil {
		return nil, r.at(err, service)
	}
	if err := r.checkPeers(&c); err != nil {
		return nil, r.at(err, service, "network_mode")
	}
	slug := engine.NewID()
	if c.Name = q.OneOff.Name; c.Name == "" {
		c.Name = fmt.Sprintf("%s-%s-run-%s", r.name, service, slug[:12])
	}
	c.OneOff, c.AutoRemove = true, q.AutoRemove
	c.StdinOnce = c.StdinOpen && !q.Detach
	if !q.UseAliases {
		for i := range c.Networks {
			c.Networks[i].Aliases = nil
		}
	}
	maps.Copy(c.Labels, map[string]string{api.LabelOneOff: "True", api.LabelSlug: slug})
	if err := r.checkPorts(netcheck.New(r.knownNetworks()), c.Name, &c, hostPorts{claims: map[string][]portClaim{}}); err != nil {
		return nil, r.at(err, service, "ports")
	}
	return r.s.CreateUnit(ctx, c, nil)
}
