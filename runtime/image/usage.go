package image

import (
	"context"
	"fmt"
	"slices"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
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
	keys, err := s.layerKeys()
	if err != nil {
		return 0, err
	}
	err = s.layers.Walk(ctx, func(ctx context.Context, i snapshots.Info) error { // some have several names above
		if keys[i.Labels[labelLinked]] != "" {
			return nil // its files count with the build's layer
		}
		usage, err := s.layers.Usage(ctx, i.Name)
		if errdefs.IsNotFound(err) {
			return nil // collected meanwhile, or its folder is gone: `system check` says so
		}
		total += usage.Size
		return err
	})
	if err != nil && !errdefs.IsNotFound(err) { // there were never any
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

// Usage is what images take on the disk: unpacked layers, and layers, configurations and manifests as they came from a
// registry or a build. What several images have counts once in the whole.
type Usage struct {
	Images []Footprint // as List orders them
	Total  int64       // bytes

	parts map[string]part
}

// Footprint is one image's part in the usage.
type Footprint struct {
	Image  Image
	Size   int64 // bytes of all that the image has
	Shared int64 // of these, what other images have, too
}

// part is something on the disk that images are made of.
type part struct {
	size  int64
	users []string // IDs of images
}

// Unneeded is how many bytes go when all images go that are not needed: those of the parts that no needed image has.
func (u Usage) Unneeded(needed func(id string) bool) int64 {
	var sum int64
	for _, p := range u.parts {
		if !slices.ContainsFunc(p.users, needed) {
			sum += p.size
		}
	}
	return sum
}

// Usage adds up what each image takes. An image that loses a part meanwhile counts without it.
func (s *Store) Usage(ctx context.Context) (Usage, error) {
	list, err := s.List(ctx)
	if err != nil {
		return Usage{}, err
	}
	u := Usage{parts: map[string]part{}}
	for _, image := range list {
		parts, err := s.partsOf(ctx, image)
		if err != nil {
			return Usage{}, fmt.Errorf("size of image %s: %w", image.ID, err)
		}
		for key, size := range parts {
			p := u.parts[key]
			p.size, p.users = size, append(p.users, image.ID)
			u.parts[key] = p
		}
		u.Images = append(u.Images, Footprint{Image: image})
	}
	sums := map[string]*Footprint{}
	for i := range u.Images {
		sums[u.Images[i].Image.ID] = &u.Images[i]
	}
	for _, p := range u.parts {
		u.Total += p.size
		for _, id := range p.users {
			sums[id].Size += p.size
			if len(p.users) > 1 {
				sums[id].Shared += p.size
			}
		}
	}
	return u, nil
}

// partsOf are the sizes of an image's parts: layers by chain ID, everything else by digest.
func (s *Store) partsOf(ctx context.Context, image Image) (map[string]int64, error) {
	parts := map[string]int64{}
	for _, chain := range identity.ChainIDs(slices.Clone(image.Layers)) {
		usage, err := s.snapshots.Usage(scope(ctx), chain.String())
		if err != nil && !errdefs.IsNotFound(err) {
			return nil, err
		}
		if err == nil {
			parts["unpacked "+chain.String()] = usage.Size
		}
	}
	blobs, err := s.blobsOf(ctx, image)
	if err != nil && !errdefs.IsNotFound(err) {
		return nil, err
	}
	for _, d := range blobs {
		info, err := s.content.Info(scope(ctx), d)
		if err != nil && !errdefs.IsNotFound(err) {
			return nil, err
		}
		if err == nil {
			parts[d.String()] = info.Size
		}
	}
	return parts, nil
}

// blobsOf are the digests of what an image that is in the store is made of: index, manifest, configuration, layers. With
// an error, which is errdefs.ErrNotFound for a manifest that is lost, they are those that are known.
func (s *Store) blobsOf(ctx context.Context, image Image) ([]digest.Digest, error) {
	blobs := []digest.Digest{image.target.Digest}
	if image.manifest.Digest != image.target.Digest {
		blobs = append(blobs, image.manifest.Digest)
	}
	var manifest ocispec.Manifest
	err := s.readJSON(ctx, image.manifest, maxManifest, &manifest)
	if err != nil {
		return append(blobs, digest.Digest(image.ID)), err
	}
	blobs = append(blobs, manifest.Config.Digest)
	for _, layer := range manifest.Layers {
		blobs = append(blobs, layer.Digest)
	}
	return blobs, nil
}
