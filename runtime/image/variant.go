package image

import (
	"context"
	"errors"
	"fmt"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// GetFor is Get for an image of a platform: of one for several platforms the one that is asked for, under its own ID. The error
// is ErrNotFound, too, when the image is not here for it.
func (s *Store) GetFor(ctx context.Context, ref string, platform ocispec.Platform) (Image, error) {
	image, err := s.Get(ctx, ref)
	if err != nil {
		return Image{}, err
	}
	list, err := s.chosen(ctx, &image, []ocispec.Platform{platform})
	if err != nil {
		if errors.Is(err, ErrNotFound) {
			return Image{}, fmt.Errorf("%w: %s is here for %s, not for %s", ErrNotFound, ref, image.Platform(), platforms.Format(platform))
		}
		return Image{}, err
	}
	if list[0].Digest == image.manifest.Digest {
		return image, nil
	}
	variant, err := s.describe(ctx, images.Image{Target: list[0]})
	if err != nil {
		return Image{}, fmt.Errorf("%s for %s: %w", ref, platforms.Format(platform), err)
	}
	variant.Names, variant.RepoDigests, variant.Digest = image.Names, image.RepoDigests, image.Digest
	return variant, nil
}
