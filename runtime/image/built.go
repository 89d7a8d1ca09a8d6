package image

import (
	"context"
	"fmt"

	"github.com/opencontainers/go-digest"
)

// ByDigest finds what names, or the builder, have stored under the digest of a manifest or an index. Several may have one
// configuration, and so one ID: an image with statements about its build beside it and the same without.
func (s *Store) ByDigest(ctx context.Context, target digest.Digest) (Image, error) {
	list, err := s.records.List(ctx, "target.digest=="+target.String())
	if err != nil {
		return Image{}, fmt.Errorf("find image %s: %w", target, err)
	}
	if len(list) == 0 {
		return Image{}, fmt.Errorf("%w: %s", ErrNotFound, target)
	}
	return s.describe(ctx, list[0])
}
