package scheduler

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/moby/buildkit/client"

	"tutti/runtime/build"
	"tutti/scheduler/api"
	"tutti/scheduler/plan"
)

// buildFlags are what the command line says beyond the file.
type buildFlags struct {
	noCache bool
	pull    bool
	args    map[string]*string
}

// Build builds the images of a project's services, all at once; what they share is built once.
func (e *Engine) Build(ctx context.Context, q api.BuildRequest, emit func(api.Event)) error {
	r, end, err := e.begin(ctx, "", q.Project, q.Client, emit)
	if err != nil {
		return err
	}
	defer end()
	names, err := r.services(q.Services, q.WithDeps)
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for _, n := range names {
		if r.project.Services[n].Build == nil {
			continue
		}
		wg.Go(func() {
			op := plan.Op{Kind: plan.BuildImage, Service: n, Resource: r.project.ImageName(n)}
			r.resource(op, "Building", api.PhaseWorking, "")
			if err := r.build(ctx, n, buildFlags{q.NoCache, q.Pull, q.Args}); err != nil {
				r.resource(op, "Error", api.PhaseError, "")
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, fmt.Errorf("service %q: build failed:\n%w", n, err))
				return
			}
			r.resource(op, "Built", api.PhaseDone, "")
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// build builds a service's image, and first those that it takes as additional contexts.
func (r *run) build(ctx context.Context, service string, f buildFlags) error {
	b, err := r.e.openBuilder()
	if err != nil {
		return err
	}
	q, err := r.buildRequest(service, f)
	if err != nil {
		return err
	}
	defer r.e.buildNet.use(r.e)()
	status := make(chan *client.SolveStatus)
	var wg sync.WaitGroup
	wg.Go(func() {
		for s := range status {
			r.emit(api.Event{Kind: api.KindBuild, Name: r.project.ImageName(service), Build: s})
		}
	})
	_, err = b.Build(ctx, q, status)
	wg.Wait()
	return err
}

// openBuilder opens BuildKit at its first use; it stays open for the next build.
func (e *Engine) openBuilder() (*build.Builder, error) {
	e.buildOnce.Lock()
	defer e.buildOnce.Unlock()
	if e.builder != nil {
		return e.builder, nil
	}
	b, err := build.New(e.ctx, build.Config{Root: e.paths.builder(), Store: e.images, Runtime: e.runtime, Network: e.buildNet.namespace(e)})
	if err != nil {
		return nil, fmt.Errorf("open the builder: %w", err)
	}
	e.builder = b
	return b, nil
}

// buildRequest reads a service's build section.
func (r *run) buildRequest(service string, f buildFlags) (build.Request, error) {
	s := r.project.Services[service]
	c := s.Build
	q := build.Request{
		Context: c.Context, Dockerfile: c.Dockerfile, DockerfileInline: c.DockerfileInline, AdditionalContexts: map[string]string{},
		Target: c.Target, Args: map[string]string{}, Labels: c.Labels, Tags: append([]string{r.project.ImageName(service)}, c.Tags...),
		CacheFrom: c.CacheFrom, CacheTo: c.CacheTo, NoCache: c.NoCache || f.noCache, NoCacheFilter: c.NoCacheFilter, Pull: c.Pull || f.pull,
		Network: c.Network, ExtraHosts: map[string]string{}, ShmSize: int64(c.ShmSize), Platforms: c.Platforms, Privileged: c.Privileged,
		Auth: registryAuth(r.client.DockerConfig),
	}
	for name, value := range c.AdditionalContexts {
		if other, ok := strings.CutPrefix(value, types.ServicePrefix); ok {
			value = "docker-image://" + r.project.ImageName(other)
		}
		q.AdditionalContexts[name] = value
	}
	for _, args := range []map[string]*string{c.Args, f.args} {
		for k, v := range args {
			if v != nil {
				q.Args[k] = *v
			}
		}
	}
	for host, addrs := range c.ExtraHosts {
		q.ExtraHosts[host] = addrs[0]
	}
	for name, u := range c.Ulimits {
		limit := build.Ulimit{Name: name, Soft: int64(u.Soft), Hard: int64(u.Hard)}
		if u.Single != 0 {
			limit.Soft, limit.Hard = int64(u.Single), int64(u.Single)
		}
		q.Ulimits = append(q.Ulimits, limit)
	}
	for _, k := range c.SSH {
		key := build.SSH{ID: k.ID}
		if k.Path != "" {
			key.Paths = []string{k.Path}
		} else if r.client.SSHAuthSock != "" {
			key.Paths = []string{r.client.SSHAuthSock}
		}
		q.SSH = append(q.SSH, key)
	}
	for _, ref := range c.Secrets {
		o := r.project.Secrets[ref.Source]
		secret := build.Secret{ID: ref.Source, File: o.File}
		if ref.Target != "" {
			secret.ID = ref.Target
		}
		switch {
		case o.Environment != "" && o.Content == "": // the loader resolves it, from the user's environment
			return q, fmt.Errorf("build secret %s: the environment variable %s is not set, or empty", ref.Source, o.Environment)
		case o.File == "":
			secret.Value = []byte(o.Content)
		}
		q.Secrets = append(q.Secrets, secret)
	}
	return q, nil
}
