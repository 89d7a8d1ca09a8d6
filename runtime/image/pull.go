package image

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/core/transfer"
	transferimage "github.com/containerd/containerd/v2/core/transfer/image"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tutti/runtime/image/registry"
)

const (
	// maxLayers is what the kernel takes for one overlay (OVL_MAX_STACK in fs/overlayfs/params.h).
	maxLayers = 500
	// maxIndexes is how deep an index may lie in others. One in an image's index is already unusual.
	maxIndexes = 3
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
	platform, labels := platforms.DefaultSpec(), map[string]string{labelPulled: time.Now().UTC().Format(time.RFC3339)}
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

	var sizes totals
	options := []transfer.Opt{transfer.WithProgress(layerProgress(Familiar(name), pullStatusOf, sizes.watch(o.Progress)))}
	err = registry.Retry(ctx, func() error {
		return s.transfer.Transfer(scope(ctx), s.remote(name, o.Auth), newPullTarget(name, platform, labels), options...)
	})
	if err == nil {
		if err = s.complete(ctx, name, o.Auth); errors.Is(err, ErrNotFound) {
			err = s.dropUnreadable(context.WithoutCancel(ctx), name, err)
		}
	}
	if err != nil {
		if own(err) {
			err = cause(err)
		} else {
			err = registry.Explain(err, host(name))
		}
		return Image{}, fmt.Errorf("pull %s for %s: %w", Familiar(name), platforms.Format(platform), s.Room(err, sizes.sum()))
	}
	return s.Get(ctx, name)
}

// dropUnreadable removes a name whose image cannot be read, which a pull has just recorded, and says why: containerd does not
// look into the configuration of an image without layers. err is what is returned when there is nothing of that kind.
func (s *Store) dropUnreadable(ctx context.Context, name string, err error) error {
	record, getErr := s.records.Get(ctx, name)
	if getErr != nil {
		return err
	}
	if _, why := s.describe(ctx, record); why != nil {
		return errors.Join(why, s.records.Delete(ctx, name))
	}
	return err
}

// localImage is embedded under a name that hides none of its methods.
type localImage = transferimage.Store

// pullTarget stores one manifest under a name and unpacks it. What comes from the registry is followed within limits.
type pullTarget struct {
	*localImage
	platform ocispec.Platform

	mu    sync.Mutex
	depth map[digest.Digest]int // of the indexes that were met
}

func newPullTarget(name string, platform ocispec.Platform, labels map[string]string) *pullTarget {
	return &pullTarget{
		localImage: transferimage.NewStore(name,
			transferimage.WithPlatforms(platform),
			transferimage.WithManifestLimit(1),
			transferimage.WithImageLabels(labels),
			transferimage.WithUnpack(platform, snapshotterName),
		),
		platform: platform,
		depth:    map[digest.Digest]int{},
	}
}

// ImageFilter puts the limits in front of containerd's choice of a platform.
func (t *pullTarget) ImageFilter(next images.HandlerFunc, blobs content.Store) images.HandlerFunc {
	checked := func(ctx context.Context, desc ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		children, err := next(ctx, desc)
		if err != nil {
			return nil, err
		}
		if images.IsIndexType(desc.MediaType) {
			children = slices.DeleteFunc(children, func(d ocispec.Descriptor) bool { return !isImage(d) })
		}
		return children, t.check(desc, children)
	}
	chosen := t.localImage.ImageFilter(checked, blobs)
	return func(ctx context.Context, desc ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		children, err := chosen(ctx, desc)
		if images.IsIndexType(desc.MediaType) && (errdefs.IsNotFound(err) || err == nil && len(children) == 0) {
			return nil, fmt.Errorf("%w for %s in the manifest list entries", ErrNoPlatform, platforms.Format(t.platform))
		}
		return children, err
	}
}

// isImage tells whether a descriptor is of an image, or of an index of images.
func isImage(d ocispec.Descriptor) bool {
	return images.IsManifestType(d.MediaType) || images.IsIndexType(d.MediaType)
}

// check refuses what would be read into memory and is too large for that, and chains without an end. Layers are taken from
// the registry alone: the other addresses that a manifest may name for them are not asked.
func (t *pullTarget) check(parent ocispec.Descriptor, children []ocispec.Descriptor) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	layers := 0
	for i := range children {
		child := &children[i]
		child.URLs = nil
		if err := child.Digest.Validate(); err != nil || child.Size < 0 {
			return fmt.Errorf("%s refers to %q of %d bytes: %w", parent.Digest, child.Digest, child.Size, errors.Join(err, errdefs.ErrInvalidArgument))
		}
		limit := int64(maxManifest)
		switch {
		case images.IsIndexType(child.MediaType):
			t.depth[child.Digest] = t.depth[parent.Digest] + 1
			if t.depth[child.Digest] > maxIndexes {
				return fmt.Errorf("%s is an index in an index, more than %d deep", child.Digest, maxIndexes)
			}
		case images.IsManifestType(child.MediaType):
		case images.IsConfigType(child.MediaType), child.MediaType == docker.LegacyConfigMediaType:
			limit = maxConfig
		case images.IsLayerType(child.MediaType):
			limit = math.MaxInt64
			layers++
		default:
			return fmt.Errorf("%s is no image that can be run: it has a %q", parent.Digest, child.MediaType)
		}
		if child.Size > limit {
			return fmt.Errorf("%s %s has %d bytes, more than %d", child.MediaType, child.Digest, child.Size, limit)
		}
	}
	if layers > maxLayers {
		return fmt.Errorf("%s has %d layers, more than the %d of an overlay", parent.Digest, layers, maxLayers)
	}
	return nil
}
