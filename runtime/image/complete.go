package image

import (
	"context"
	"fmt"

	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// complete fetches layers of a pulled image whose content is not in the store although they are unpacked: it was lost, and
// `system check --repair` has removed what was left of it. containerd's pull fetches only what it unpacks.
func (s *Store) complete(ctx context.Context, name string, auth Auth) (err error) {
	image, err := s.Get(ctx, name)
	if err != nil {
		return err
	}
	var manifest ocispec.Manifest
	if err := s.readJSON(ctx, image.manifest, maxManifest, &manifest); err != nil {
		return err
	}
	var lost []ocispec.Descriptor
	for _, layer := range manifest.Layers {
		if _, err := s.content.Info(scope(ctx), layer.Digest); errdefs.IsNotFound(err) {
			lost = append(lost, layer)
		} else if err != nil {
			return fmt.Errorf("look up layer %s: %w", layer.Digest, err)
		}
	}
	if len(lost) == 0 {
		return nil
	}
	ctx, release, err := s.lease(scope(ctx))
	if err != nil {
		return err
	}
	defer func() { err = joinRelease(err, release) }()
	fetcher, err := s.remote(name, auth).Fetcher(ctx, name)
	if err != nil {
		return err
	}
	fetch := remotes.FetchHandler(discardingStore{s.content}, fetcher)
	for _, layer := range lost {
		if _, err := fetch(ctx, layer); err != nil {
			return fmt.Errorf("fetch layer %s: %w", layer.Digest, err)
		}
	}
	return nil
}
