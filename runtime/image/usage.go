package image

import (
	"context"
	"fmt"
	"slices"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/image-spec/identity"
)

// LayerSizes are the bytes of an image's layers as they lie on disk, bottom first; none when it is not unpacked.
func (s *Store) LayerSizes(ctx context.Context, image Image) ([]int64, error) {
	var sizes []int64
	for _, chain := range identity.ChainIDs(slices.Clone(image.Layers)) {
		usage, err := s.snapshots.Usage(scope(ctx), chain.String())
		if errdefs.IsNotFound(err) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("size of layer %s: %w", chain, err)
		}
		sizes = append(sizes, usage.Size)
	}
	return sizes, nil
}

// DiskUsage is the bytes of all layers, unpacked and as they came.
func (s *Store) DiskUsage(ctx context.Context) (int64, error) {
	var total int64
	err := s.snapshots.Walk(scope(ctx), func(ctx context.Context, i snapshots.Info) error {
		usage, err := s.snapshots.Usage(ctx, i.Name)
		total += usage.Size
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("size of the layers: %w", err)
	}
	err = s.content.Walk(scope(ctx), func(i content.Info) error {
		total += i.Size
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("size of the content: %w", err)
	}
	return total, nil
}
