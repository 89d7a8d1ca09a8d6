package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/moby/buildkit/client"

	"tutti/runtime/image"
	"tutti/scheduler/api"
	"tutti/scheduler/container"
	"tutti/volumes"
)

// ContainerUsage is what a container takes on the disk.
type ContainerUsage struct {
	api.Container
	Size int64 // bytes of its own layer
}

// VolumeUsage is what a volume takes.
type VolumeUsage struct {
	volumes.Volume
	Size  int64 // bytes
	Users int   // containers that have it
}

// ContainerUsage lists the containers with the sizes of their own layers.
func (e *Engine) ContainerUsage(ctx context.Context) ([]ContainerUsage, error) {
	now := time.Now()
	all := []ContainerUsage{}
	for _, u := range e.SelectUnits(func(*container.Config) bool { return true }) {
		size, err := u.layerSize(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, ContainerUsage{Container: e.describe(u, now), Size: size})
	}
	return all, nil
}

// ContainerSize is how many bytes a container has written.
func (e *Engine) ContainerSize(ctx context.Context, name string) (int64, error) {
	u, err := e.FindUnit(name)
	if err != nil {
		return 0, err
	}
	return u.layerSize(ctx)
}

// layerSize is how many bytes a container has written. One that is being removed has none.
func (u *Unit) layerSize(ctx context.Context) (int64, error) {
	size, err := volumes.TreeUsage(ctx, u.upper())
	if err != nil && ctx.Err() == nil && u.isRemoved() {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("size of container %s: %w", u.Name(), err)
	}
	return size, nil
}

// VolumeUsage lists the volumes with their sizes and users.
func (e *Engine) VolumeUsage(ctx context.Context) ([]VolumeUsage, error) {
	list, err := e.VolumeStore.List()
	if err != nil {
		return nil, err
	}
	all := []VolumeUsage{}
	for _, v := range list {
		size, err := e.VolumeStore.Usage(ctx, v.Name)
		if errors.Is(err, volumes.ErrNotFound) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		all = append(all, VolumeUsage{Volume: v, Size: size, Users: len(e.volumeUsers(v.Name))})
	}
	return all, nil
}

// ImageUsage is what images take on the disk.
func (e *Engine) ImageUsage(ctx context.Context) (image.Usage, error) { return e.ImageStore.Usage(ctx) }

// BuildCache lists the records of the build cache, nothing when there was never a build.
func (e *Engine) BuildCache(ctx context.Context) ([]*client.UsageInfo, error) {
	return e.Builder.Usage(ctx)
}

// PruneBuildCache removes records of the build cache that no build needs, and returns them.
func (e *Engine) PruneBuildCache(ctx context.Context, what client.PruneInfo) ([]client.UsageInfo, error) {
	return e.Builder.Prune(ctx, what)
}
