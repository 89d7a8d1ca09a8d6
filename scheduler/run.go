package scheduler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"tutti/project"
	"tutti/scheduler/api"
	"tutti/scheduler/engine"
	"tutti/scheduler/plan"
)

// run is one project verb on its way: the model, where its events go, and what its operations hand to one another.
type run struct {
	s       *Scheduler
	name    string
	project *project.Project // nil when neither the client nor the disk has a model
	client  api.ClientContext
	emit    func(api.Event)

	graphOnce sync.Once
	graph     *project.Graph

	chronicle chronicle
	wiring    *wiring         // of the plan that is being carried out
	losers    map[string]bool // ids of containers whose addresses others are to have that the plan starts

	mu   sync.Mutex
	kept map[string]map[string]string // anonymous volumes by mount target, of containers that are replaced, by their id
}

// begin decodes the model, takes the project's turn and returns the run. The returned function ends it.
func (s *Scheduler) begin(ctx context.Context, name string, model json.RawMessage, c api.ClientContext, emit func(api.Event)) (*run, func(), error) {
	r := &run{s: s, name: name, client: c, losers: map[string]bool{}, kept: map[string]map[string]string{}}
	if len(model) > 0 {
		p, err := project.Decode(model)
		if err != nil {
			return nil, nil, fmt.Errorf("read the project: %w", err)
		}
		r.project, r.name = p, p.Name
	}
	if err := engine.CheckProjectName(r.name); err != nil { // also that of a model: it becomes a file's name
		return nil, nil, err
	}
	unlock, err := s.LockProject(ctx, r.name)
	if err != nil {
		return nil, nil, err
	}
	if r.project == nil {
		if r.project, err = s.AppliedModel(r.name); err != nil {
			unlock()
			return nil, nil, err
		}
	}
	var mu sync.Mutex
	r.emit = func(ev api.Event) {
		mu.Lock()
		defer mu.Unlock()
		emit(ev)
	}
	return r, unlock, nil
}

// saveModel remembers the model that is being applied.
func (r *run) saveModel(raw json.RawMessage) error { return r.s.SaveModel(r.name, raw) }

func (r *run) dropModel() error {
	if err := r.s.DropModel(r.name); err != nil {
		return err
	}
	return r.s.dropHistory(r.name)
}

// services are the named services of the model, or all, and what they depend on when that is asked for.
func (r *run) services(names []string, withDependencies bool) ([]string, error) {
	for _, n := range names {
		if _, ok := r.project.Services[n]; !ok {
			return nil, fmt.Errorf("no such service: %s", n)
		}
	}
	switch {
	case len(names) == 0:
		return r.project.ServiceNames(), nil
	case withDependencies:
		return r.project.Graph().With(names...), nil
	}
	return names, nil
}

// carryOut applies a plan: the images first, then the networks and what all its containers need of them, then all else.
func (r *run) carryOut(ctx context.Context, p *plan.Plan, parallel int) error {
	images, networks, rest := p.Stages()
	if err := r.walk(ctx, images, parallel); err != nil {
		return err
	}
	w := r.wire(ctx, &plan.Plan{Ops: slices.Concat(networks.Ops, rest.Ops)})
	defer w.end(ctx)
	if err := r.walk(ctx, networks, parallel); err != nil {
		return err
	}
	if err := w.begin(ctx); err != nil {
		return err
	}
	return r.walk(ctx, rest, parallel)
}

// walk applies a plan and turns what went wrong into one message for the user.
func (r *run) walk(ctx context.Context, p *plan.Plan, parallel int) error {
	for _, note := range p.Notes {
		r.emit(api.Event{Kind: api.KindWarning, Text: note})
	}
	defer r.s.ExpectNames(p.StartedAnew())()
	err := plan.Walk(ctx, p, parallel, r.timed)
	var w *plan.WalkError
	if !errors.As(err, &w) {
		return err
	}
	r.noteFailures(w)
	return r.explain(w)
}

// explain names every failure once and, for services that were not started, what they waited for.
func (r *run) explain(w *plan.WalkError) error {
	if len(w.Failed) == 0 && w.Cancelled != nil {
		return w.Cancelled
	}
	var lines []string
	reported := map[string]bool{}
	for _, f := range w.Failed {
		if errors.Is(f.Err, context.Canceled) && w.Cancelled != nil {
			continue
		}
		lines = append(lines, r.describe(f))
	}
	for _, s := range w.Skipped {
		if s.Op.Kind != plan.StartContainer || reported[s.Op.Container] {
			continue
		}
		reported[s.Op.Container] = true
		r.resource(s.Op, "Skipped", api.PhaseWarning, "")
	}
	if len(lines) == 0 && w.Cancelled != nil {
		return w.Cancelled
	}
	return errors.New(strings.Join(lines, "\n"))
}

func (r *run) describe(f *plan.OpError) string {
	switch f.Op.Kind {
	case plan.AwaitCondition:
		return fmt.Sprintf("service %q was not started: dependency failed to start: %v", f.Op.For, f.Err)
	case plan.CreateNetwork, plan.RemoveNetwork:
		return fmt.Sprintf("network %s: %v", f.Op.Resource, f.Err)
	case plan.CreateVolume, plan.RemoveVolume:
		return fmt.Sprintf("volume %s: %v", f.Op.Resource, f.Err)
	case plan.RemoveImage:
		return fmt.Sprintf("image %s: %v", f.Op.Resource, f.Err)
	case plan.PullImage:
		return fmt.Sprintf("service %q: image %s: %v", r.imageUser(f.Op.Resource), f.Op.Resource, f.Err)
	case plan.BuildImage:
		return fmt.Sprintf("service %q: build failed:\n%v", f.Op.Service, f.Err)
	case plan.AwaitHealthy:
		return fmt.Sprintf("service %q: %v", f.Op.Service, f.Err)
	case plan.CreateContainer, plan.PreStart, plan.StartContainer, plan.StopContainer, plan.RemoveContainer:
		if f.Op.Service == "" {
			return fmt.Sprintf("container %s: %v", f.Op.Container, f.Err)
		}
		return fmt.Sprintf("service %q: container %s: %v", f.Op.Service, f.Op.Container, f.Err)
	}
	return f.Error()
}

// imageUser is the first service that wants an image.
func (r *run) imageUser(ref string) string {
	names := r.project.ServiceNames()
	sort.Strings(names)
	for _, n := range names {
		if slices.Contains(r.imagesOf(n), ref) {
			return n
		}
	}
	return ""
}

// resource tells the user about the resource of an operation.
func (r *run) resource(op plan.Op, status string, phase api.Phase, text string) {
	r.emit(api.Event{Kind: api.KindResource, Resource: resourceWord(op.Kind), Name: op.Subject(), Status: status, Phase: phase, Text: text})
}

func resourceWord(k plan.Kind) string {
	switch k {
	case plan.PullImage, plan.BuildImage, plan.RemoveImage:
		return "Image"
	case plan.CreateNetwork, plan.RemoveNetwork:
		return "Network"
	case plan.CreateVolume, plan.RemoveVolume:
		return "Volume"
	case plan.CreateContainer, plan.PreStart, plan.StartContainer, plan.StopContainer, plan.RemoveContainer, plan.AwaitCondition, plan.AwaitHealthy:
		return "Container"
	}
	return ""
}

// seconds turns a --timeout flag into a grace period; nil stays nil.
func seconds(n *int) *time.Duration {
	if n == nil {
		return nil
	}
	d := time.Duration(*n) * time.Second
	return &d
}
