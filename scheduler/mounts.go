package scheduler

import (
	"context"

	"github.com/opencontainers/runtime-spec/specs-go"

	"tutti/volumes"
)

// mounts are the container's volumes, binds, tmpfs, configs and secrets for its next run, parents first.
func (e *Engine) mounts(ctx context.Context, u *unit) ([]specs.Mount, error) {
	wanted := make([]volumes.Mount, 0, len(u.config.Mounts))
	for _, m := range u.config.Mounts {
		wanted = append(wanted, m.Mount)
	}
	all, err := e.volumes.Mounts(ctx, wanted)
	if err != nil {
		return nil, err
	}
	made, err := volumes.Files(e.filesDir(u.id), u.config.Files)
	if err != nil {
		return nil, err
	}
	all = append(all, made...)
	volumes.Sort(all)
	return all, nil
}
