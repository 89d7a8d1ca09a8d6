package scheduler

import (
	"context"
	"errors"
	"sort"
	"sync"

	"tutti/runtime/image"
	"tutti/scheduler/api"
	"tutti/scheduler/container"
	"tutti/scheduler/plan"
	"tutti/scheduler/supervise"
)

// imageDefaults is what a container takes over from an image.
func imageDefaults(img image.Image) container.Image {
	c := img.Config
	d := container.Image{
		ID: img.ID, Entrypoint: c.Entrypoint, Cmd: c.Cmd, Env: c.Env, WorkingDir: c.WorkingDir, User: c.User,
		StopSignal: c.StopSignal, Labels: c.Labels,
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
	var platform string
	if op.Service != "" {
		platform = r.project.Services[op.Service].Platform
	}
	return r.e.PullImage(ctx, op.Resource, platform, registryAuth(r.client.DockerConfig), r.emit)
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
	wanted := map[string]string{} // reference → service
	for _, n := range names {
		s := r.project.Services[n]
		if s.Image == "" || q.IgnoreBuildable && s.Build != nil {
			r.emit(api.Event{Kind: api.KindResource, Resource: "Image", Name: r.project.ImageName(n), Status: "Skipped", Phase: api.PhaseDone, Text: "it is built"})
			continue
		}
		wanted[s.Image] = n
	}
	var mu sync.Mutex
	var errs []error
	var wg sync.WaitGroup
	for ref, service := range wanted {
		wg.Go(func() {
			if err := r.pullService(ctx, ref, service, q.Policy); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			}
		})
	}
	wg.Wait()
	if q.IgnoreFailures && ctx.Err() == nil {
		for _, err := range errs {
			r.emit(api.Event{Kind: api.KindWarning, Text: err.Error()})
		}
		return nil
	}
	return errors.Join(errs...)
}

func (r *run) pullService(ctx context.Context, ref, service, policy string) error {
	op := plan.Op{Kind: plan.PullImage, Service: service, Resource: ref}
	if policy == "missing" {
		if _, err := r.e.images.Get(ctx, ref); err == nil {
			r.resource(op, "Skipped", api.PhaseDone, "it is there")
			return nil
		}
	}
	return r.apply(ctx, op)
}
