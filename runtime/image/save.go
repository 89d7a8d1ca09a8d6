package image

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/images/archive"
	"github.com/distribution/reference"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Save writes images as a tar that is an OCI image layout and a docker archive at once: containerd, skopeo, podman and
// docker read it. A name without a tag stands for all tags of the repository, as in docker; an ID for the image without
// names.
func (s *Store) Save(ctx context.Context, w io.Writer, refs []string) error {
	l, err := s.listing(ctx)
	if err != nil {
		return err
	}
	type entry struct {
		manifest ocispec.Descriptor
		names    []string
	}
	var order []*entry
	byDigest := map[string]*entry{}
	add := func(image *Image, names ...string) {
		e := byDigest[image.manifest.Digest.String()]
		if e == nil {
			e = &entry{manifest: image.manifest}
			e.manifest.Annotations = nil
			byDigest[image.manifest.Digest.String()] = e
			order = append(order, e)
		}
		for _, name := range names {
			if !slices.Contains(e.names, name) {
				e.names = append(e.names, name)
			}
		}
	}
	for _, ref := range refs {
		if tags := l.tagsOf(ref); len(tags) > 0 {
			for _, name := range tags {
				add(l.byName[name], name)
			}
			continue
		}
		image, err := l.find(ref)
		if err != nil {
			return err
		}
		if name, err := Normalize(ref); err == nil && l.byName[name] == image && !strings.Contains(name, "@") {
			add(image, name)
		} else {
			add(image)
		}
	}
	var options []archive.ExportOpt
	for _, e := range order {
		options = append(options, archive.WithManifest(e.manifest, e.names...))
	}
	if err := archive.Export(scope(ctx), s.content, w, options...); err != nil {
		return fmt.Errorf("save images: %w", err)
	}
	return nil
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
