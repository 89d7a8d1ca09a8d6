package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/transfer"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// LoadOptions of Load; the zero value loads what runs here, or else what there is, silently.
type LoadOptions struct {
	Platforms []ocispec.Platform // only these, and an error where an image has none of them
	Report    func(Image)        // told about each image as it is recorded; nil: nobody is
}

// Load reads images from a tar that "docker save" or an OCI tool wrote, plain or
// compressed with gzip, bzip2, xz or zstd, and unpacks them. It returns them in the
// order of the archive. An image without a name becomes a dangling one. After an
// error the store is as it was.
func (s *Store) Load(ctx context.Context, r io.Reader, o LoadOptions) ([]Image, error) {
	defer s.Begin()()
	target := &loadTarget{platforms: o.Platforms}
	archive := &importer{r: r, root: s.root, limits: s.limits}
	err := s.transfer.Transfer(scope(ctx), archive, target)
	if errors.Is(err, images.ErrEmptyWalk) {
		err = target.noPlatform()
	}
	if err != nil {
		err = fmt.Errorf("load image archive: %w", s.Room(cause(err), 0))
		return nil, errors.Join(err, s.GarbageCollect(context.WithoutCancel(ctx)))
	}
	if len(target.stored) == 0 {
		return nil, errors.Join(fmt.Errorf("load image archive: %w", target.noPlatform()), s.GarbageCollect(context.WithoutCancel(ctx)))
	}
	var loaded []Image
	seen := map[string]bool{}
	for _, name := range target.stored {
		image, err := s.stored(ctx, name)
		if err != nil {
			return loaded, err
		}
		if seen[image.ID] {
			continue
		}
		seen[image.ID] = true
		loaded = append(loaded, image)
		if o.Report != nil {
			o.Report(image)
		}
	}
	return loaded, nil
}

// stored finds the image of a record by the record's exact name, or by its target
// when the record was not needed because the target has a name.
func (s *Store) stored(ctx context.Context, name string) (Image, error) {
	l, err := s.listing(ctx)
	if err != nil {
		return Image{}, err
	}
	if image := l.byName[name]; image != nil {
		return *image, nil
	}
	for _, image := range l.images {
		if danglingName(image.Digest) == name {
			return *image, nil
		}
	}
	return Image{}, fmt.Errorf("%w: %s", ErrNotFound, Familiar(name))
}

// loadTarget is where the transfer service puts an archive's images: it decides
// what is kept, unpacked and recorded under which name.
type loadTarget struct {
	platforms []ocispec.Platform

	mu     sync.Mutex
	root   *ocispec.Descriptor // the archive's own index, the first that is visited
	stored []string            // names of the records, in the archive's order
}

// ImageFilter walks the archive's index whole. In an image's own index only what
// the archive contains is followed, and only the host's platform when it is there.
func (t *loadTarget) ImageFilter(next images.HandlerFunc, blobs content.Store) images.HandlerFunc {
	present := func(ctx context.Context, desc ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		children, err := next(ctx, desc)
		if err != nil {
			return nil, err
		}
		if t.isRoot(desc) {
			return slices.DeleteFunc(children, t.unwanted), nil
		}
		if !images.IsIndexType(desc.MediaType) {
			return children, nil
		}
		return t.presentManifests(ctx, blobs, children)
	}
	return images.SetChildrenMappedLabels(blobs, present, nil)
}

func (t *loadTarget) isRoot(desc ocispec.Descriptor) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.root == nil {
		t.root = &desc
	}
	return t.root.Digest == desc.Digest
}

// unwanted says whether a manifest is of another platform than those that were asked for.
func (t *loadTarget) unwanted(desc ocispec.Descriptor) bool {
	if len(t.platforms) == 0 || !images.IsManifestType(desc.MediaType) {
		return false
	}
	return desc.Platform == nil || !platforms.Any(t.platforms...).Match(*desc.Platform)
}

func (t *loadTarget) presentManifests(ctx context.Context, blobs content.Store, manifests []ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	var all, native []ocispec.Descriptor
	for _, m := range manifests {
		if _, err := blobs.Info(ctx, m.Digest); errdefs.IsNotFound(err) {
			continue
		} else if err != nil {
			return nil, err
		}
		if t.unwanted(m) {
			continue
		}
		all = append(all, m)
		if m.Platform != nil && !isAttestation(m) && platforms.Default().Match(*m.Platform) {
			native = append(native, m)
		}
	}
	if len(t.platforms) > 0 && len(all) == 0 {
		return nil, t.noPlatform()
	}
	if len(native) > 0 && len(t.platforms) == 0 {
		return native, nil
	}
	return all, nil
}

func (t *loadTarget) noPlatform() error {
	var names []string
	for _, p := range t.platforms {
		names = append(names, platforms.Format(p))
	}
	return fmt.Errorf("%w in the archive for the platform %s", ErrNotFound, strings.Join(names, ", "))
}

// UnpackPlatforms asks for everything that is followed to be unpacked.
func (t *loadTarget) UnpackPlatforms() []transfer.UnpackConfiguration {
	return []transfer.UnpackConfiguration{{Platform: platforms.DefaultSpec(), Snapshotter: snapshotterName}}
}

// Store records one image of the archive.
func (t *loadTarget) Store(ctx context.Context, desc ocispec.Descriptor, store images.Store) ([]images.Image, error) {
	if t.isRoot(desc) || !images.IsManifestType(desc.MediaType) && !images.IsIndexType(desc.MediaType) {
		return nil, errdefs.ErrNotFound // the archive's index is no image
	}
	if t.unwanted(desc) {
		return nil, errdefs.ErrNotFound
	}
	name, err := archiveName(desc.Annotations)
	if err != nil {
		return nil, err
	}
	if name == "" {
		name = danglingName(desc.Digest)
	}
	desc.Annotations = nil
	record := images.Image{Name: name, Target: desc}
	if len(t.platforms) > 0 && !platforms.Default().Match(t.platforms[0]) {
		record.Labels = map[string]string{labelPlatform: platforms.Format(t.platforms[0])}
	}
	created, err := store.Create(ctx, record)
	if errdefs.IsAlreadyExists(err) {
		created, err = store.Update(ctx, record)
	}
	if err != nil {
		return nil, fmt.Errorf("record image %s: %w", Familiar(name), err)
	}
	t.stored = append(t.stored, name)
	return []images.Image{created}, nil
}

// archiveName is the full name that an archive gives an image, empty for none. An
// OCI reference name is used when it is more than a bare tag, which names nothing.
func archiveName(annotations map[string]string) (string, error) {
	if name := annotations[images.AnnotationImageName]; name != "" {
		return Normalize(name)
	}
	name := annotations[ocispec.AnnotationRefName]
	if !strings.ContainsAny(name, ":/") {
		return "", nil
	}
	return Normalize(name)
}
