package engine

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"tutti/runtime"
	"tutti/scheduler/container"
	"tutti/volumes"
)

// Inherited are the mounts that a container takes over from those that volumes_from names. Of two with the same target the
// later one counts, as with docker.
func (e *Engine) Inherited(project string, from []string) ([]container.Mount, error) {
	var all []container.Mount
	for _, entry := range from {
		mode, readOnly, err := container.VolumesFrom(entry)
		if err != nil {
			return nil, err
		}
		peer, err := e.Peer(&container.Config{Project: project}, mode)
		if err != nil {
			return nil, fmt.Errorf("volumes_from: %w", err)
		}
		for _, m := range peer.Config.Bequeath(readOnly) {
			all = slices.DeleteFunc(all, func(have container.Mount) bool { return have.Target == m.Target })
			all = append(all, m)
		}
	}
	return all, nil
}

// imageMount is the root of an image, or a folder of it, as a read-only mount: its layers as an overlay, which wants two at
// least.
func (e *Engine) imageMount(ctx context.Context, m volumes.Mount) (specs.Mount, error) {
	lowers, err := e.lowers(ctx, m.Source)
	if err != nil {
		return specs.Mount{}, fmt.Errorf("mount the image on %s: %w", m.Target, err)
	}
	layers := strings.Join(append(slices.Clip(lowers), e.Paths.Empty()), ":")
	s := specs.Mount{Destination: path.Clean(m.Target), Type: "overlay", Source: "overlay", Options: []string{"ro", "lowerdir=" + layers}}
	if m.Subpath != "" {
		s.Options = append(s.Options, runtime.OptionSubpath+m.Subpath)
	}
	return s, nil
}

// apiSocket is where clients of docker's API look for it.
const apiSocket = "/var/run/docker.sock"
