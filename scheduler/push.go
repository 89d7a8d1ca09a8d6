package scheduler

import (
	"context"
	"errors"
	"slices"
	"sync"

	"tutti/scheduler/api"
	"tutti/scheduler/credentials"
)

// Push uploads what the services of a project are built to: each image under its name and its further tags.
func (s *Scheduler) Push(ctx context.Context, q api.PushRequest, emit func(api.Event)) error {
	r, end, err := s.begin(ctx, "", q.Project, q.Client, emit)
	if err != nil {
		return err
	}
	defer end()
	names, err := r.services(q.Services, q.IncludeDeps)
	if err != nil {
		return err
	}
	var wanted []string
	for _, n := range names {
		service := r.project.Services[n]
		if service.Build == nil || service.Image == "" {
			r.emit(api.Event{Kind: api.KindResource, Resource: "Image", Name: r.project.ImageName(n), Status: "Skipped", Phase: api.PhaseDone, Text: "nothing to push: the service has no build section with an image name"})
			continue
		}
		for _, ref := range append([]string{service.Image}, service.Build.Tags...) {
			if !slices.Contains(wanted, ref) {
				wanted = append(wanted, ref)
			}
		}
	}
	auth := credentials.Registry(q.Client.DockerConfig)
	errs := make([]error, len(wanted))
	var wg sync.WaitGroup
	for i, ref := range wanted {
		wg.Go(func() {
			event := api.Event{Kind: api.KindResource, Resource: "Image", Name: ref, Status: "Pushing", Phase: api.PhaseWorking}
			r.emit(event)
			_, errs[i] = s.PushImage(ctx, ref, "", auth, r.emit)
			switch {
			case errs[i] == nil:
				event.Status, event.Phase = "Pushed", api.PhaseDone
			case q.IgnoreFailures:
				event.Status, event.Phase, event.Text = "Warning", api.PhaseWarning, errs[i].Error()
			default:
				event.Status, event.Phase = "Error", api.PhaseError
			}
			r.emit(event)
		})
	}
	wg.Wait()
	if q.IgnoreFailures && ctx.Err() == nil {
		return nil
	}
	return errors.Join(errs...)
}
