package scheduler

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"tutti/project"
	"tutti/runtime"
	"tutti/scheduler/api"
	"tutti/scheduler/container"
	"tutti/scheduler/plan"
)

// Run makes one more container of a service, beside those of `up`, when all that it needs is there, and starts it with the
// client attached. It returns the exit code of the container's process, or with an error the one that says what failed.
// A client that goes before the container runs calls it off; later it leaves the container alone.
func (e *Engine) Run(ctx context.Context, q api.RunRequest, emit func(api.Event), begun func(api.Begun), s Streams) (int, error) {
	u, err := e.prepareRun(ctx, q, emit)
	if err != nil {
		return runtime.ExitCode(err), err
	}
	u.size = q.Size
	a, err := e.attach(u, false)
	if err == nil {
		err = e.start(ctx, u)
	}
	if err != nil {
		code := runtime.ExitCode(err)
		if a != nil {
			a.sub.Close()
		}
		if q.AutoRemove || ctx.Err() != nil { // who has called it off does not want it
			err = errors.Join(err, e.remove(context.WithoutCancel(ctx), u, true, true))
		}
		return code, fmt.Errorf("service %q: container %s: %w", u.config.Service, u.config.Name, err)
	}
	l := u.latestLife()
	begun(u.begun(a, l))
	if q.Detach {
		a.sub.Close()
		return 0, nil
	}
	return a.stream(ctx, l, s)
}

// prepareRun brings about what a container of `run` needs, and creates it.
func (e *Engine) prepareRun(ctx context.Context, q api.RunRequest, emit func(api.Event)) (*unit, error) {
	p, err := project.Decode(q.Project)
	if err != nil {
		return nil, fmt.Errorf("read the project: %w", err)
	}
	changed, err := p.WithOneOff(project.OneOff(q.OneOff))
	if err != nil {
		return nil, err
	}
	r := &run{e: e, name: p.Name, project: p, client: q.Client, kept: map[string]map[string]string{}}
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
		unlock, err := r.e.projectLocks.lock(ctx, r.name)
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
		if err := r.preflight(ctx, p); err != nil {
			return err
		}
		images, rest := imagesFirst(p)
		if err := r.walk(ctx, images, parallel); err != nil {
			return err
		}
		if err := r.walk(ctx, rest, parallel); err != nil {
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
func (r *run) createOneOff(ctx context.Context, p *project.Project, q api.RunRequest) (*unit, error) {
	service := q.OneOff.Service
	c, err := r.containerConfig(ctx, p, service)
	if err != nil {
		return nil, r.at(err, service)
	}
	if err := r.checkPeers(&c); err != nil {
		return nil, r.at(err, service, "network_mode")
	}
	slug := newID()
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
	if err := r.checkPorts(ctx, c.Name, c.Ports, hostPorts{}, nil); err != nil {
		return nil, r.at(err, service, "ports")
	}
	return r.e.create(ctx, c, nil)
}

// comesBackWithin is how long a client that an engine's death has cut off from a container with --rm is waited for.
const comesBackWithin = 10 * time.Second

// autoRemove removes a container that was to last no longer than its process, with its anonymous volumes. Who is attached
// reads on.
func (e *Engine) autoRemove(ctx context.Context, u *unit) {
	if u.back != nil {
		e.removeLater(u)
		return
	}
	if err := e.remove(ctx, u, false, true); err != nil {
		e.log.Error("remove the container (--rm)", "container", u.config.Name, "error", err)
	}
}

// removeLater is autoRemove for a container that an earlier engine started: whoever was attached to it then is going to
// ask for the rest of its output and how it ended.
func (e *Engine) removeLater(u *unit) {
	e.Background("remove container "+u.config.Name+" (--rm)", func() error {
		timer := time.NewTimer(comesBackWithin)
		defer timer.Stop()
		select {
		case <-u.back:
		case <-timer.C:
		case <-e.ctx.Done():
			return nil // the next engine's business
		}
		if s := u.snapshot(); s.Alive() || s.Status == container.Restarting {
			return nil
		}
		return e.remove(context.WithoutCancel(e.ctx), u, false, true)
	})
}

// returned notes that a client has come back that an engine's death had cut off, and has got everything.
func (u *unit) returned() {
	if u.back != nil {
		u.backOnce.Do(func() { close(u.back) })
	}
}
