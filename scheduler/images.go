package scheduler

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"
	"sync"

	"tutti/runtime/image"
	"tutti/scheduler/api"
	"tutti/scheduler/container"
	"tutti/scheduler/credentials"
	"tutti/scheduler/plan"
	"tutti/scheduler/supervise"
)

// imageDefaults is what a container takes over from an image.
func imageDefaults(img image.Image) container.Image {
	c := img.Config
	d := container.Image{
		ID: img.ID, Entrypoint: c.Entrypoint, Cmd: c.Cmd, Env: c.Env, WorkingDir: c.WorkingDir, User: c.User,
		StopSignal: c.StopSignal, Labels: c.Labels, Shell: c.Shell,
	}
	for v := range c.Volumes {
		d.Volumes = append(d.Volumes, v)
	}
	for p := range c.ExposedPorts {
		d.ExposedPorts = append(d.ExposedPorts, p)
	}
	sort.Strings(d.Volumes)
	sort.Strings(d.ExposedPorts)
	if h := c.Healthcheck; h != nil {
		d.Health = &supervise.HealthCheck{Test: h.Test, Interval: h.Interval, Timeout: h.Timeout, StartPeriod: h.StartPeriod, StartInterval: h.StartInterval, Retries: h.Retries}
	}
	return d
}

// pull fetches the image of a plan's operation, with the progress in bytes.
func (r *run) pull(ctx context.Context, op plan.Op) error {
	_, err := r.e.PullImage(ctx, op.Resource, r.platformOf(op.Resource), credentials.Registry(r.client.DockerConfig), r.emit)
	return err
}

// Pull fetches the images of a project's services.
func (e *Engine) Pull(ctx context.Context, q api.PullRequest, emit func(api.Event)) error {
	r, end, err := e.begin(ctx, "", q.Project, q.Client, emit)
	if err != nil {
		return err
	}
	defer end()
	names, err := r.services(q.Services, q.IncludeDeps)
	if err != nil {
		return err
	}
	choices := plan.Pulls(r.project, names, plan.PullOptions{Policy: q.Policy, IgnoreBuildable: q.IgnoreBuildable}, func(ref string) bool {
		img, err := e.images.Get(ctx, ref)
		return err == nil && isFor(img, r.platformOf(ref))
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
