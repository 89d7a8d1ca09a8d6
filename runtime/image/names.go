package image

import (
	"context"
	"fmt"
	"strings"

	"github.com/containerd/containerd/v2/core/images"
)

// Tag gives an image a further name; a name that exists is moved.
func (s *Store) Tag(ctx context.Context, ref, name string) error {
	image, err := s.Get(ctx, ref)
	if err != nil {
		return err
	}
	return s.Name(ctx, image, name)
}

// Name is Tag for several names at once: all of them or, after an error, none.
func (s *Store) Name(ctx context.Context, image Image, names ...string) error {
	var wanted []images.Image
	for _, name := range names {
		full, err := Normalize(name)
		if err != nil {
			return err
		}
		if strings.Contains(full, "@") {
			return fmt.Errorf("invalid image name %q: a tag cannot have a digest", name)
		}
		wanted = append(wanted, images.Image{Name: full, Target: image.target, Labels: image.labels})
	}
	if err := s.records.put(ctx, wanted); err != nil {
		return fmt.Errorf("tag image %s: %w", image.ID, err)
	}
	return nil
}
