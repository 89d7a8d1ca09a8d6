package scheduler

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/moby/moby/api/types/events"

	"tutti/project"
	"tutti/scheduler/api"
	"tutti/scheduler/container"
	"tutti/scheduler/engine"
	"tutti/scheduler/imagebuild"
	"tutti/scheduler/imageconfig"
	"tutti/scheduler/plan"
	"tutti/volumes"
)

// steps are the words that the user sees before and after an operation, docker compose's.
var steps = map[plan.Kind][2]string{
	plan.PullImage:       {"Pulling", "Pulled"},
	plan.BuildImage:      {"Building", "Built"},
	plan.RemoveImage:     {"Removing", "Removed"},
	plan.CreateNetwork:   {"Creating", "Created"},
	plan.RemoveNetwork:   {"Removing", "Removed"},
	plan.CreateVolume:    {"Creating", "Created"},
	plan.RemoveVolume:    {"Removing", "Removed"},
	plan.CreateContainer: {"Creating", "Created"},
	plan.StartContainer:  {"Starting", "Started"},
	plan.StopContainer:   {"Stopping", "Stopped"},
	plan.RemoveContainer: {"Removing", "Removed"},
}

// apply carries out one operation and tells the user. It decides nothing.
func (r *run) apply(ctx context.Context, op plan.Op) error {
	switch op.Kind { //nolint:exhaustive // the others are acts
	case plan.AwaitCondition, plan.AwaitHealthy:
		return r.await(ctx, op)
	case plan.PreStart:
		return r.preStart(ctx, op) // what it prints is what there is to see
	}
	words := steps[op.Kind]
	if op.Kind == plan.CreateContainer && op.Replaces != "" {
		words = [2]string{"Recreate", "Recreated"}
	}
	r.resource(op, words[0], api.PhaseWorking, "")
	if err := r.act(ctx, op); err != nil {
		if op.Shared && errors.Is(err, engine.ErrConflict) {
			r.resource(op, "Resource is still in use", api.PhaseWarning, "")
			return nil
		}
		if ctx.Err() == nil {
			r.resource(op, "Error", api.PhaseError, strings.SplitN(err.Error(), "\n", 2)[0])
		}
		return err
	}
	if r.wiring != nil {
		r.wiring.over(op)
	}
	r.resource(op, words[1], api.PhaseDone, "")
	return nil
}

func (r *run) act(ctx context.Context, op plan.Op) error {
	switch op.Kind {
	case plan.PullImage:
		return r.pull(ctx, op)
	case plan.BuildImage:
		return r.build(ctx, op.Service, imagebuild.Flags{})
	case plan.RemoveImage:
		return r.s.DropImage(ctx, op.Resource)
	case plan.CreateNetwork:
		return r.createNetwork(ctx, op)
	case plan.RemoveNetwork:
		return r.s.DropNetwork(ctx, op.Resource)
	case plan.CreateVolume:
		return r.createVolume(op.Key)
	case plan.RemoveVolume:
		return r.s.DropVolume(op.Resource)
	case plan.CreateContainer:
		return r.createContainer(ctx, op)
	case plan.StartContainer:
		u, err := r.unit(op)
		if err != nil {
			return err
		}
		r.wiring.ready(ctx, op)
		if err := r.s.StartUnit(ctx, u); err != nil {
			return err
		}
		r.restarted(ctx, op, u)
		return nil
	case plan.StopContainer:
		u, err := r.unit(op)
		if err != nil {
			return nil //nolint:nilerr // gone is stopped
		}
		if err := r.s.PreStop(ctx, u); err != nil {
			return err
		}
		r.wiring.told(op)
		return r.s.StopUnit(ctx, u, op.Timeout)
	case plan.RemoveContainer:
		return r.removeContainer(ctx, op)
	case plan.PreStart, plan.AwaitCondition, plan.AwaitHealthy:
	}
	return fmt.Errorf("operation %q is unknown", op.Kind)
}

// unit finds the container of an operation.
func (r *run) unit(op plan.Op) (*engine.Unit, error) { return r.s.OpUnit(op.ContainerID, op.Container) }

// createNetwork makes a network. What it needs of the firewall comes with the wave that it is for.
func (r *run) createNetwork(ctx context.Context, op plan.Op) error {
	if _, err := r.s.NetworkByName(op.Resource); err == nil {
		return nil
	}
	r.wiring.made(op.Resource)
	return r.s.MakeNetwork(ctx, r.project, op.Key)
}

func (r *run) createVolume(key string) error {
	v := r.project.Volumes[key]
	labels := map[string]string{api.LabelProject: r.name, api.LabelVolume: key, api.LabelConfigHash: r.project.VolumeHash(key)}
	maps.Copy(labels, v.Labels)
	_, err := r.s.MakeVolume(volumes.Spec{Name: v.Name, Driver: v.Driver, DriverOpts: v.DriverOpts, Labels: labels})
	return err
}

func (r *run) createContainer(ctx context.Context, op plan.Op) error {
	c, err := r.containerConfig(ctx, r.project, op.Service, r.wiring.id(op.Container))
	if err != nil {
		return err
	}
	c.Name, c.Number = op.Container, op.Number
	c.Hash = r.project.Hash(op.Service)
	c.Canonical = r.project.Canonical(op.Service)
	maps.Copy(c.Labels, map[string]string{api.LabelNumber: strconv.Itoa(op.Number), api.LabelOneOff: "False", api.LabelConfigHash: c.Hash})
	r.mu.Lock()
	keep := r.kept[op.Replaces]
	r.mu.Unlock()
	_, err = r.s.CreateUnit(ctx, c, keep)
	return err
}

// containerConfig is what all containers of a service have in common.
func (r *run) containerConfig(ctx context.Context, p *project.Project, service, id string) (container.Config, error) {
	c, err := r.config(ctx, p, p.Services[service], p.ImageName(service), id)
	if err != nil {
		return c, err
	}
	c.DependsOn = r.dependencies(service)
	maps.Copy(c.Labels, map[string]string{
		api.LabelProject: r.name, api.LabelService: service, api.LabelImage: c.ImageID, api.LabelWorkingDir: p.WorkingDir,
		api.LabelConfigFiles: strings.Join(p.ComposeFiles, ","), api.LabelDependsOn: dependsLabel(c.DependsOn),
	})
	return c, nil
}

// config is the configuration of a new container of an image, but without what tells whose it is.
func (r *run) config(ctx context.Context, p *project.Project, s types.ServiceConfig, ref, id string) (container.Config, error) {
	img, err := r.s.ImageStore.Get(ctx, ref)
	if err != nil {
		return container.Config{}, err
	}
	if err := r.checkPlatform(ref, r.platform(s), img); err != nil {
		return container.Config{}, err
	}
	inherited, err := r.s.Inherited(r.name, s.VolumesFrom)
	if err != nil {
		return container.Config{}, err
	}
	c, err := container.FromService(p, s, imageconfig.Defaults(img).Without(inherited))
	if err != nil {
		return c, err
	}
	c.Inherit(inherited)
	if err := r.giveCredentials(&c); err != nil {
		return c, err
	}
	if err := r.tellUnfit(c); err != nil {
		return c, err
	}
	c.ID, c.Image, c.Created = id, ref, time.Now().UTC()
	if c.Hostname == "" {
		c.Hostname = c.ID[:12]
		if host, err := os.Hostname(); err == nil && (c.NetworkMode == "host" || c.UTS == "host") {
			c.Hostname = host
		}
	}
	return c, nil
}

// dependencies are the edges of the graph that the container remembers, for a `down` without its compose file.
func (r *run) dependencies(service string) []plan.Dependency {
	r.graphOnce.Do(func() { r.graph = r.project.Graph() })
	return engine.GraphEdges(r.graph, service)
}

// dependsLabel writes dependencies as docker compose's label has them: service:condition:restart, comma-separated.
func dependsLabel(all []plan.Dependency) string {
	var parts []string
	for _, d := range all {
		parts = append(parts, fmt.Sprintf("%s:%s:%t", d.Service, d.Condition, d.Restart))
	}
	return strings.Join(parts, ",")
}

// removeContainer removes a container and, when another one takes its place, remembers its anonymous volumes for that.
func (r *run) removeContainer(ctx context.Context, op plan.Op) error {
	u, err := r.unit(op)
	if err != nil {
		return nil //nolint:nilerr // gone is removed
	}
	if op.KeepVolumes {
		keep := map[string]string{}
		for _, m := range u.Config.Mounts {
			if m.Anonymous {
				keep[m.Target] = m.Source
			}
		}
		r.mu.Lock()
		r.kept[u.ID] = keep
		r.mu.Unlock()
	}
	if err := r.s.RemoveUnit(ctx, u, true, op.Volumes); err != nil {
		return err
	}
	return r.wiring.succeed(u)
}

// restarted tells that `restart` has started a container again.
func (r *run) restarted(ctx context.Context, op plan.Op, u *engine.Unit) {
	if engine.VerbOf(ctx) == "restart" && op.Kind == plan.StartContainer {
		r.s.Publish(u, events.ActionRestart)
	}
}

// tellUnfit warns of limits that this host cannot set. The container keeps them, for a host that can.
func (r *run) tellUnfit(c container.Config) error {
	_, warnings, err := r.s.Fit(c)
	for _, w := range warnings {
		if c.Service != "" {
			w = fmt.Sprintf("service %q: %s", c.Service, w)
		}
		r.emit(api.Event{Kind: api.KindWarning, Text: w})
	}
	return err
}
