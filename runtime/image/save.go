package image

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/images/archive"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// SaveOptions of Save.
type SaveOptions struct {
	Refs      []string           // what is saved
	Platforms []ocispec.Platform // only these of images of several; none: what runs here
}

// Save writes images as a tar that is an OCI image layout and a docker archive at once: containerd, skopeo, podman and
// docker read it. A name without a tag stands for all tags of the repository, as in docker; an ID for the image without
// names.
func (s *Store) Save(ctx context.Context, w io.Writer, o SaveOptions) error {
	l, err := s.listing(ctx)
	if err != nil {
		return err
	}
	list := &saved{byDigest: map[digest.Digest]*savedImage{}}
	add := func(image *Image, names ...string) error {
		manifests, err := s.chosen(ctx, image, o.Platforms)
		for _, m := range manifests {
			list.add(m, names)
		}
		return err
	}
	for _, ref := range o.Refs {
		if tags := l.tagsOf(ref); len(tags) > 0 {
			for _, name := range tags {
				if err := add(l.byName[name], name); err != nil {
					return err
				}
			}
			continue
		}
		image, err := l.find(ref)
		if err != nil {
			return err
		}
		var names []string
		if name, err := Normalize(ref); err == nil && l.byName[name] == image && !strings.Contains(name, "@") {
			names = []string{name}
		}
		if err := add(image, names...); err != nil {
			return err
		}
	}
	var options []archive.ExportOpt
	for _, e := range list.images {
		options = append(options, archive.WithManifest(e.manifest, e.names...))
	}
	if err := archive.Export(scope(ctx), s.content, w, options...); err != nil {
		return fmt.Errorf("save images: %w", err)
	}
	return nil
}

// savedImage is a manifest and the names that it is saved under.
type savedImage struct {
	manifest ocispec.Descriptor
	names    []string
}

// saved is what Save writes, in its order.
type saved struct {
	images   []*savedImage
	byDigest map[digest.Digest]*savedImage
}

func (l *saved) add(manifest ocispec.Descriptor, names []string) {
	e := l.byDigest[manifest.Digest]
	if e == nil {
		manifest.Annotations = nil
		e = &savedImage{manifest: manifest}
		l.byDigest[manifest.Digest] = e
		l.images = append(l.images, e)
	}
	for _, name := range names {
		if !slices.Contains(e.names, name) {
			e.names = append(e.names, name)
		}
	}
}

// chosen are the manifests of an image for the platforms that were asked for, each of which must be there whole.
func (s *Store) chosen(ctx context.Context, image *Image, wanted []ocispec.Platform) ([]ocispec.Descriptor, error) {
	if len(wanted) == 0 {
		return []ocispec.Descriptor{image.manifest}, nil
	}
	have := []ocispec.Descriptor{image.manifest}
	have[0].Platform = &ocispec.Platform{OS: image.OS, Architecture: image.Arch, Variant: image.Variant}
	if images.IsIndexType(image.target.MediaType) {
		var index ocispec.Index
		if err := s.readJSON(ctx, image.target, maxManifest, &index); err != nil {
			return nil, err
		}
		have = slices.DeleteFunc(index.Manifests, func(m ocispec.Descriptor) bool { return m.Platform == nil || isAttestation(m) })
	}
	var list []ocispec.Descriptor
	for _, p := range wanted {
		i := slices.IndexFunc(have, func(m ocispec.Descriptor) bool {
			return platforms.OnlyStrict(p).Match(platforms.Normalize(*m.Platform))
		})
		if i >= 0 {
			var manifest ocispec.Manifest
			if err := s.readJSON(ctx, have[i], maxManifest, &manifest); err == nil {
				list = append(list, have[i])
				continue
			} else if !errdefs.IsNotFound(err) {
				return nil, err
			}
		}
		return nil, fmt.Errorf("%w: image %s is not here for the platform %s", ErrNotFound, image.ID, platforms.Format(p))
	}
	return list, nil
}

// tagsOf lists the full names of a repository, for a reference that names nothing more.
func (l *listing) tagsOf(ref string) []string {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil || !reference.IsNameOnly(named) {
		return nil
	}
	var names []string
	for name := range l.byName {
		if !isDangling(name) && !strings.Contains(name, "@") && repository(name) == named.Name() {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
