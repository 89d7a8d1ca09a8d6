package scheduler

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"tutti/scheduler/api"
	"tutti/scheduler/credentials"
	"tutti/scheduler/plan"
)

// pull fetches the image of a plan's operation, with the progress in bytes.
func (r *run) pull(ctx context.Context, op plan.Op) error {
	_, err := r.s.PullImage(ctx, op.Resource, r.platformOf(op.Resource), credentials.Registry(r.client.DockerConfig), r.emit)
	return err
}

// Pull fetches the images of a project's services.
func (s *Scheduler) Pull(ctx context.Context, q api.PullRequest, emit func(api.Event)) error {
	r, end, err := s.begin(ctx, "", q.Project, q.Client, emit)
	if err != nil {
		return err
	}
	defer end()
	names, err := r.services(q.Services, q.IncludeDeps)
	if err != nil {
		return err
	}
	choices := plan.Pulls(r.project, names, plan.PullOptions{Policy: q.Policy, IgnoreBuildable: q.IgnoreBuildable}, func(ref string) bool {
		img, err := s.ImageStore.Get(ctx, ref)
		return err == nil && img.IsFor(r.platformOf(ref))
	})
	errs := make([]error, len(choices))
	var wg sync.WaitGroup
	for i, c := range choices {
		op := plan.Op{Kind: plan.PullImage, Service: c.Service, Resource: c.Image}
		if c.Skipped {
			r.resource(op, "Skipped", api.PhaseDone, c.Reason)
			continue
		}
		wg.Go(func() { errs[i] = r.apply(ctx, op) })
	}
	wg.Wait()
	return r.pullErrors(ctx, choices, errs, q.IgnoreFailures)
}

// pullErrors tells what could not be pulled: what can be built instead, and the rest as the verb's error unless failures
// are ignored.
func (r *run) pullErrors(ctx context.Context, choices []plan.PullChoice, errs []error, ignore bool) error {
	var build []string
	for i, err := range errs {
		if err == nil {
			continue
		}
		errs[i] = fmt.Errorf("service %q: image %s: %w", choices[i].Service, choices[i].Image, err)
		if choices[i].Build {
			build = append(build, choices[i].Service)
		}
		if ignore && ctx.Err() == nil {
			r.emit(api.Event{Kind: api.KindWarning, Text: errs[i].Error()})
			errs[i] = nil
		}
	}
	if len(build) > 0 && ctx.Err() == nil {
		r.emit(api.Event{Kind: api.KindWarning, Text: "Some service image(s) must be built from source by running:\n    tutti build " + strings.Join(build, " ")})
	}
	return errors.Join(errs...)
}
