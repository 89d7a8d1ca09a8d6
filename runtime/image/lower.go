package image

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/unpack"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// labelUpperdir is where the overlay snapshotter tells a snapshot's folder.
const labelUpperdir = "containerd.io/snapshot/overlay.upperdir"

// Lower returns the folders of the image's unpacked layers, topmost first: the
// lowerdirs of an overlay mount. There is at least one, an empty folder for an
// image without layers.
//
// The folders are found with read transactions, nothing is written. They stay as
// long as the image has a record: its configuration refers to the topmost layer,
// each layer to the one below, and the collector follows both. Layers that are
// missing, because a process died while it unpacked them, are unpacked now.
func (s *Store) Lower(ctx context.Context, image Image) ([]string, error) {
	if len(image.Layers) == 0 {
		empty := filepath.Join(s.root, "empty")
		if err := os.MkdirAll(empty, 0o755); err != nil {
			return nil, fmt.Errorf("create empty layer: %w", err)
		}
		return []string{empty}, nil
	}
	l, err := s.listing(ctx)
	if err != nil {
		return nil, err
	}
	chain := image.chainID()
	if known, ok := l.lower.Load(chain); ok {
		return slices.Clone(known.([]string)), nil
	}
	folders, err := s.layerFolders(ctx, chain)
	if errdefs.IsNotFound(err) {
		if err := s.unpackLayers(ctx, image.manifest); err != nil {
			return nil, fmt.Errorf("unpack image %s: %w", image.ID, err)
		}
		s.catalog.forget() // the image's size is known now
		folders, err = s.layerFolders(ctx, chain)
	}
	if err != nil {
		return nil, err
	}
	l.lower.Store(chain, slices.Clone(folders))
	return folders, nil
}

// layerFolders walks the snapshots from the topmost down.
func (s *Store) layerFolders(ctx context.Context, chain string) ([]string, error) {
	var folders []string
	for key := chain; key != ""; {
		info, err := s.snapshots.Stat(scope(ctx), key)
		if err != nil {
			return nil, fmt.Errorf("find layer %s: %w", key, err)
		}
		folders = append(folders, info.Labels[labelUpperdir])
		key = info.Parent
	}
	return folders, nil
}

// unpackLayers unpacks the layers of a manifest whose content is in the store.
func (s *Store) unpackLayers(ctx context.Context, manifest ocispec.Descriptor) (err error) {
	ctx, release, err := s.lease(scope(ctx))
	if err != nil {
		return err
	}
	defer func() { err = joinRelease(err, release) }()
	unpacker, err := unpack.NewUnpacker(ctx, s.content, unpack.WithUnpackPlatform(s.unpack))
	if err != nil {
		return err
	}
	walkErr := images.Dispatch(ctx, unpacker.Unpack(images.ChildrenHandler(s.content)), nil, manifest)
	if _, err := unpacker.Wait(); err != nil {
		return err
	}
	return walkErr
}
