package scheduler

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"sync"
	"time"

	"tutti/project"
	"tutti/runtime/statefile"
	"tutti/scheduler/api"
	"tutti/scheduler/diagnose"
	"tutti/scheduler/plan"
)

// Bounds of what is remembered of a command.
const (
	keptSteps = 2000
	keptText  = 4 << 10 // bytes of each message
)

// history is what is remembered of a project beside its containers: the last command that started something, step by
// step, and for each service the last failure. It lies in a file of the project's.
type history struct {
	Last     api.Operation          `json:"last"`
	Failures map[string]api.Failure `json:"failures,omitempty"` // by service; "" for the project as a whole
	Steps    []diagnose.Step        `json:"steps,omitempty"`
}

// loadHistory reads what is remembered of a project, nothing for one that is new.
func (s *Scheduler) loadHistory(name string) (history, error) {
	var h history
	err := statefile.Read(s.Paths.History(name), &h)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return h, err
}

// dropHistory forgets a project.
func (s *Scheduler) dropHistory(name string) error {
	if err := os.Remove(s.Paths.History(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// chronicle collects what a run does, for the history.
type chronicle struct {
	after  map[string][]string // the plan's order, before it was split
	mu     sync.Mutex
	steps  []diagnose.Step
	failed map[string]string // by service
}

// planned notes the order of a plan.
func (c *chronicle) planned(p *plan.Plan) {
	c.after = make(map[string][]string, len(p.Ops))
	for _, op := range p.Ops {
		c.after[op.ID] = op.After
	}
}

// fail notes why something could not be done for a service.
func (c *chronicle) fail(service, text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed == nil {
		c.failed = map[string]string{}
	}
	if len(text) > keptText {
		text = text[:keptText]
	}
	c.failed[service] = text
}

// timed carries out an operation, notes its times, and lets `why` see it while it goes on.
func (r *run) timed(ctx context.Context, op plan.Op) error {
	defer r.s.doing.begin(r.name, op)()
	step := diagnose.Step{Op: op, Began: time.Now().UTC()}
	if after, ok := r.chronicle.after[op.ID]; ok {
		step.After = after
	}
	err := r.apply(ctx, op)
	step.Ended, step.Failed = time.Now().UTC(), err != nil
	r.chronicle.mu.Lock()
	defer r.chronicle.mu.Unlock()
	if len(r.chronicle.steps) < keptSteps {
		r.chronicle.steps = append(r.chronicle.steps, step)
	}
	return err
}

// noteFailures notes for each service what a walk could not do for it.
func (r *run) noteFailures(w *plan.WalkError) {
	for _, f := range w.Failed {
		if w.Cancelled != nil && errors.Is(f.Err, context.Canceled) {
			continue
		}
		services := []string{cmp.Or(f.Op.For, f.Op.Service)}
		if f.Op.Kind == plan.PullImage && r.project != nil {
			services = r.imageUsers(f.Op.Resource)
		}
		for _, s := range services {
			r.chronicle.fail(s, r.describe(f))
		}
	}
	for _, s := range w.Skipped {
		if s.Op.Kind != plan.StartContainer {
			continue
		}
		r.chronicle.mu.Lock()
		_, known := r.chronicle.failed[s.Op.Service]
		r.chronicle.mu.Unlock()
		if !known && len(w.Failed) > 0 {
			r.chronicle.fail(s.Op.Service, "was not started, for this failed before: "+r.describe(w.Failed[0]))
		}
	}
}

// imageUsers are the services that want an image.
func (r *run) imageUsers(ref string) []string {
	return slices.DeleteFunc(r.project.ServiceNames(), func(s string) bool { return r.project.ImageName(s) != ref })
}

// remember keeps what a command that starts something has done. A failure of an earlier one is kept for the services that
// this one did not touch.
func (r *run) remember(verb string, services []string, began time.Time, failure error) {
	h, err := r.s.loadHistory(r.name)
	if err != nil {
		r.s.Log.Warn("read the project's history", "project", r.name, "error", err)
	}
	now := time.Now().UTC()
	c := &r.chronicle
	c.mu.Lock()
	defer c.mu.Unlock()
	old, steps := h.Failures, c.steps
	started := slices.ContainsFunc(steps, func(s diagnose.Step) bool { return s.Kind == plan.StartContainer })
	if !started && len(h.Steps) > 0 { // what runs was started by an earlier one
		steps = h.Steps
	}
	h = history{Last: api.Operation{Verb: verb, Began: began.UTC(), Ended: now, Services: services}, Failures: map[string]api.Failure{}, Steps: steps}
	touched := map[string]bool{"": true}
	for _, s := range c.steps {
		touched[s.Service] = true
	}
	for s, f := range old {
		if !touched[s] && (failure != nil || len(services) > 0) && r.has(s) {
			h.Failures[s] = f
		}
	}
	for s, text := range c.failed {
		h.Failures[s] = api.Failure{Verb: verb, At: now, Text: text}
	}
	if failure != nil {
		h.Last.Error = failure.Error()[:min(len(failure.Error()), keptText)]
	}
	if err := statefile.Write(r.s.Paths.History(r.name), h); err != nil {
		r.s.Log.Warn("remember what was done", "project", r.name, "error", err)
	}
}

// has says whether the model has a service.
func (r *run) has(service string) bool {
	if r.project == nil {
		return true
	}
	_, ok := r.project.Services[service]
	return ok
}

// ongoing is an operation that is being carried out.
type ongoing struct {
	project string
	op      plan.Op
	since   time.Time
}

// doings are the operations that are being carried out now.
type doings struct {
	mu   sync.Mutex
	next int
	ops  map[int]ongoing
}

// begin enters an operation; the returned function takes it out again.
func (d *doings) begin(project string, op plan.Op) (end func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ops == nil {
		d.ops = map[int]ongoing{}
	}
	d.next++
	id := d.next
	d.ops[id] = ongoing{project, op, time.Now().UTC()}
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.ops, id)
	}
}

// about are the operations that go on for a service, the oldest first.
func (d *doings) about(p *project.Project, name, service string) []api.Doing {
	d.mu.Lock()
	defer d.mu.Unlock()
	var list []api.Doing
	for _, o := range d.ops {
		own := o.op.For == service || o.op.For == "" && o.op.Service == service
		image := o.op.Kind == plan.PullImage && p != nil && p.ImageName(service) == o.op.Resource
		if o.project == name && (own || image) {
			list = append(list, api.Doing{What: diagnose.Doing(o.op), Since: o.since})
		}
	}
	slices.SortFunc(list, func(a, b api.Doing) int { return a.Since.Compare(b.Since) })
	return list
}
