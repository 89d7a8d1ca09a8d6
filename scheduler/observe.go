package scheduler

import (
	"context"
	"errors"
	"time"

	"tutti/runtime/image"
	"tutti/scheduler/api"
	"tutti/scheduler/container"
	"tutti/scheduler/engine"
	"tutti/scheduler/plan"
	"tutti/volumes"
)

// observe takes the snapshot of reality that the project's plans are made from.
func (r *run) observe(ctx context.Context) (plan.State, error) {
	var s plan.State
	for _, u := range r.s.SelectUnits(func(c *container.Config) bool { return c.Project == r.name }) {
		s.Containers = append(s.Containers, r.s.Observed(u))
	}
	others := r.s.UsersOfNetworks(func(c *container.Config) bool { return c.Project != r.name })
	for _, n := range r.s.Networks() {
		s.Networks = append(s.Networks, plan.Network{
			Others: others[n.Name], ID: n.ID, Name: n.Name, Project: n.Labels[api.LabelProject], Key: n.Labels[api.LabelNetwork],
			Hash: n.Labels[api.LabelConfigHash], Config: engine.NetworkConfig(n),
		})
	}
	for _, c := range r.s.NetworkConfigs() {
		s.Networks = append(s.Networks, plan.Network{ID: c.ID, Name: c.Name, ConfigOnly: true})
	}
	all, err := r.s.VolumeStore.List()
	if err != nil {
		return s, err
	}
	for _, v := range all {
		s.Volumes = append(s.Volumes, plan.Volume{Name: v.Name, Project: v.Labels[api.LabelProject], Key: v.Labels[api.LabelVolume], Hash: v.Labels[api.LabelConfigHash]})
	}
	if r.project == nil {
		return s, nil
	}
	s.Images = map[string]string{}
	s.Pulled = map[string]time.Time{}
	for name := range r.project.Services {
		for _, ref := range r.imagesOf(name) {
			img, err := r.s.ImageStore.Get(ctx, ref)
			if errors.Is(err, image.ErrNotFound) {
				continue
			}
			if err != nil {
				return s, err
			}
			// One for another platform than the service wants is as good as none.
			if ref == r.project.ImageName(name) && !img.IsFor(r.platform(r.project.Services[name])) {
				continue
			}
			s.Images[ref] = img.ID
			if s.Pulled[ref], err = r.s.ImageStore.Pulled(ctx, ref); err != nil {
				return s, err
			}
		}
	}
	return s, nil
}

// imagesOf are the references of a service's image, of those that it mounts and those of its pre_start hooks.
func (r *run) imagesOf(service string) []string {
	refs := []string{r.project.ImageName(service)}
	for _, v := range r.project.Services[service].Volumes {
		if volumes.Type(v.Type) == volumes.TypeImage && v.Source != "" {
			refs = append(refs, v.Source)
		}
	}
	for _, hook := range r.project.Services[service].PreStart {
		if hook.Image != "" {
			refs = append(refs, hook.Image)
		}
	}
	return refs
}
