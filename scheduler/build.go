package scheduler

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/moby/buildkit/client"

	"tutti/runtime/build"
	"tutti/scheduler/api"
	"tutti/scheduler/engine"
	"tutti/scheduler/imagebuild"
	"tutti/scheduler/plan"
)

// Build builds the images of a project's services, all at once but those that are contexts of others first; steps that
// they share are run once.
func (s *Scheduler) Build(ctx context.Context, q api.BuildRequest, emit func(api.Event)) error {
	r, end, err := s.begin(ctx, "", q.Project, q.Client, emit)
	if err != nil {
		return err
	}
	defer end()
	names, err := r.services(q.Services, q.WithDeps)
	if err != nil {
		return err
	}
	needs, err := imagebuild.Order(r.project, names)
	if err != nil {
		return err
	}
	flags := imagebuild.Flags{
		NoCache: q.NoCache, Pull: q.Pull, Push: q.Push, Args: q.Args, SSH: q.SSH, Memory: q.Memory, Provenance: q.Provenance, SBOM: q.SBOM,
	}
	all := slices.Sorted(maps.Keys(needs))
	for _, n := range all {
		if err := r.checkBuild(n, flags); err != nil {
			return err
		}
	}
	if q.DryRun {
		return r.tryBuilds(all, flags)
	}
	if q.Check {
		return r.checkBuilds(ctx, all, flags)
	}
	return r.buildAll(ctx, needs, flags)
}

// checkBuild finds what would fail before anything is built: a context that is missing, an attribute that is not supported.
func (r *run) checkBuild(service string, f imagebuild.Flags) error {
	if err := r.project.CheckBuild(service); err != nil {
		return err
	}
	q, err := r.buildRequest(service, f)
	if err == nil {
		err = q.Validate()
	}
	return r.at(err, service, "build")
}

// buildAll builds every service of needs once those are built that it needs.
func (r *run) buildAll(ctx context.Context, needs map[string][]string, flags imagebuild.Flags) error {
	built := map[string]chan struct{}{} // closed when the service's build has ended
	for n := range needs {
		built[n] = make(chan struct{})
	}
	var mu sync.Mutex
	failed := map[string]error{}
	var wg sync.WaitGroup
	for n := range needs {
		wg.Go(func() {
			defer close(built[n])
			err := r.buildAfter(ctx, n, needs[n], built, flags, func(need string) bool {
				mu.Lock()
				defer mu.Unlock()
				return failed[need] != nil
			})
			if err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed[n] = err
			}
		})
	}
	wg.Wait()
	var errs []error
	for _, n := range slices.Sorted(maps.Keys(failed)) {
		errs = append(errs, failed[n])
	}
	return errors.Join(errs...)
}

func (r *run) buildAfter(ctx context.Context, service string, needs []string, built map[string]chan struct{}, flags imagebuild.Flags, failed func(string) bool) error {
	for _, need := range needs {
		select {
		case <-built[need]:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if failed(need) {
			return fmt.Errorf("service %q: not built: its additional context is service %q, whose build failed", service, need)
		}
	}
	op := plan.Op{Kind: plan.BuildImage, Service: service, Resource: r.project.ImageName(service)}
	r.resource(op, "Building", api.PhaseWorking, "")
	if err := r.build(ctx, service, flags); err != nil {
		r.resource(op, "Error", api.PhaseError, "")
		return fmt.Errorf("service %q: build failed:\n%w", service, err)
	}
	r.resource(op, "Built", api.PhaseDone, "")
	return nil
}

// checkBuilds lints what would be built.
func (r *run) checkBuilds(ctx context.Context, services []string, flags imagebuild.Flags) error {
	for _, n := range services {
		q, err := r.buildRequest(n, flags)
		if err != nil {
			return err
		}
		found, err := r.s.Builder.Check(ctx, q)
		if err != nil {
			return fmt.Errorf("service %q: check failed:\n%w", n, err)
		}
		r.emit(engine.CheckEvent(n, found))
	}
	return nil
}

// build builds a service's image; those that are its contexts are there.
func (r *run) build(ctx context.Context, service string, f imagebuild.Flags) error {
	q, err := r.buildRequest(service, f)
	if err != nil {
		return err
	}
	name := r.project.ImageName(service)
	_, err = r.s.Builder.Build(ctx, q, func(s *client.SolveStatus) {
		r.emit(api.Event{Kind: api.KindBuild, Name: name, Build: s})
	})
	return err
}

// buildRequest reads a service's build section.
func (r *run) buildRequest(service string, f imagebuild.Flags) (build.Request, error) {
	u, err := imagebuild.NewUser(r.client)
	if err != nil {
		return build.Request{}, err
	}
	return imagebuild.Compose(r.project, service, f, u)
}
