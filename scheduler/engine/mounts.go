package engine

import (
	"context"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"

	"tutti/volumes"
)

// mounts are the container's volumes, binds, tmpfs, images, configs and secrets for its next run, parents first.
func (e *Engine) mounts(ctx context.Context, u *Unit) ([]specs.Mount, error) {
	var wanted []volumes.Mount
	var all []specs.Mount
	for _, m := range u.Config.Mounts {
		if m.Type != volumes.TypeImage {
			wanted = append(wanted, m.Mount)
			continue
		}
		image, err := e.imageMount(ctx, m.Mount)
		if err != nil {
			return nil, err
		}
		all = append(all, image)
	}
	made, err := e.VolumeStore.Mounts(ctx, wanted)
	if err != nil {
		return nil, err
	}
	all = append(all, made...)
	made, err = volumes.Files(e.filesDir(u.ID), u.Config.Files)
	if err != nil {
		return nil, err
	}
	all = append(all, made...)
	taken := slices.ContainsFunc(all, func(m specs.Mount) bool { return m.Destination == apiSocket })
	if u.Config.APISocket && !taken {
		all = append(all, specs.Mount{Destination: apiSocket, Type: "bind", Source: e.Paths.Socket(), Options: []string{"bind", "rprivate"}})
	}
	volumes.Sort(all)
	return all, nil
}
