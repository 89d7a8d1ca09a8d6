package image

import (
	"context"
	"fmt"

	"github.com/containerd/containerd/v2/core/transfer"
	transferimage "github.com/containerd/containerd/v2/core/transfer/image"
	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// PullOptions of Pull; the zero value pulls for this host, anonymously and silently.
type PullOptions struct {
	Platform string         // "linux/arm64"; empty for the host's
	Auth     Auth           // nil: anonymous
	Progress func(Progress) // nil: silent; called from one goroutine at a time
}

// Pull fetches an image from its registry and unpacks it: layers in parallel, what
// the store has is not fetched again, what an interrupted pull has fetched is
// kept for a day, and a connection that breaks is made again. The name is recorded last, so that it always means a whole image.
func (s *Store) Pull(ctx context.Context, ref string, o PullOptions) (Image, error) {
	name, err := Normalize(ref)
	if err != nil {
		return Image{}, err
	}
	platform, labels := platforms.DefaultSpec(), map[string]string{labelPulled: "true"}
	if o.Platform != "" {
		if platform, err = platforms.Parse(o.Platform); err != nil {
			return Image{}, fmt.Errorf("pull %s: platform %q: %w", Familiar(name), o.Platform, err)
		}
		if !platforms.Default().Match(platform) {
			labels[labelPlatform] = platforms.Format(platform)
		}
	}
	if err := s.pulls.Lock(ctx, name); err != nil {
		return Image{}, err
	}
	defer s.pulls.Unlock(name)
	defer s.Begin()()

	var options []transfer.Opt
	if o.Progress != nil {
		options = append(options, transfer.WithProgress(layerProgress(Familiar(name), pullStatusOf, o.Progress)))
	}
	err = retry(ctx, func() error {
		return s.transfer.Transfer(scope(ctx), s.clients.image(name, o.Auth), pullTarget(name, platform, labels), options...)
	})
	if err == nil {
		err = s.complete(ctx, name, o.Auth)
	}
	if err != nil {
		return Image{}, fmt.Errorf("pull %s for %s: %w", Familiar(name), platforms.Format(platform), err)
	}
	return s.Get(ctx, name)
}

// pullTarget stores one manifest under a name and unpacks it.
func pullTarget(name string, platform ocispec.Platform, labels map[string]string) *transferimage.Store {
	return transferimage.NewStore(name,
		transferimage.WithPlatforms(platform),
		transferimage.WithManifestLimit(1),
		transferimage.WithImageLabels(labels),
		transferimage.WithUnpack(platform, snapshotterName),
	)
}
