package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tutti/runtime/decompress"
)

// maxVisits bounds the descriptors that an archive's indexes lead to, counted each time: a small file can name another one
// a thousand times, which does so too.
const maxVisits = 4000

// maxNesting is an archive's index, an image's, and one in it, which nobody is known to write.
const maxNesting = 3

// index is the archive's images: what its OCI index says, or else docker's manifest.json. Names have been checked, and
// everything that the descriptors lead to is there.
func (i *importer) index(ctx context.Context, store content.Store) (ocispec.Index, error) {
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	var err error
	switch {
	case i.texts[ocispec.ImageLayoutFile] != nil:
		index.Manifests, err = i.ociImages(ctx, store)
	case i.texts[dockerManifest] != nil:
		index.Manifests, err = i.dockerImages(ctx, store)
	default:
		return index, errors.New("it is no image archive: it has neither index.json with oci-layout nor manifest.json; for a root file system use import")
	}
	if err != nil {
		return index, err
	}
	for _, desc := range index.Manifests {
		if _, err := archiveName(desc.Annotations); err != nil {
			return index, err
		}
	}
	if len(index.Manifests) == 0 {
		return index, errors.New("it contains no image")
	}
	return index, nil
}

// ociImages follows an OCI layout's index.json (image-spec, image-layout.md).
func (i *importer) ociImages(ctx context.Context, store content.Store) ([]ocispec.Descriptor, error) {
	var layout ocispec.ImageLayout
	if err := json.Unmarshal(i.texts[ocispec.ImageLayoutFile], &layout); err != nil {
		return nil, fmt.Errorf("parse %s: %w", ocispec.ImageLayoutFile, err)
	}
	if layout.Version != ocispec.ImageLayoutVersion {
		return nil, fmt.Errorf("%s: version %q is not supported, only %s is", ocispec.ImageLayoutFile, shortened(layout.Version), ocispec.ImageLayoutVersion)
	}
	data, ok := i.texts[ocispec.ImageIndexFile]
	if !ok {
		return nil, fmt.Errorf("the archive has no %s", ocispec.ImageIndexFile)
	}
	var index ocispec.Index
	if err := json.Unmarshal(data, &index); err != nil {
		return nil, fmt.Errorf("parse %s: %w", ocispec.ImageIndexFile, err)
	}
	var list []ocispec.Descriptor
	for _, desc := range index.Manifests {
		platform, err := i.check(ctx, store, desc, 1)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", ocispec.ImageIndexFile, err)
		}
		if desc.Platform == nil {
			desc.Platform = platform
		}
		list = append(list, ocispec.Descriptor{
			MediaType: desc.MediaType, Digest: desc.Digest, Size: desc.Size, Platform: desc.Platform, Annotations: desc.Annotations,
		})
	}
	return list, nil
}

// check follows a descriptor to everything that it leads to. It returns a manifest's platform.
func (i *importer) check(ctx context.Context, store content.Store, desc ocispec.Descriptor, depth int) (*ocispec.Platform, error) {
	if i.visited++; i.visited > maxVisits {
		return nil, fmt.Errorf("%w: it refers to more than %d manifests and layers", ErrTooLarge, maxVisits)
	}
	if err := i.present(ctx, store, desc); err != nil {
		return nil, err
	}
	switch {
	case images.IsManifestType(desc.MediaType):
		return i.checkManifest(ctx, store, desc)
	case !images.IsIndexType(desc.MediaType):
		return nil, fmt.Errorf("%s is a %q, not an image", desc.Digest, shortened(desc.MediaType))
	case depth == maxNesting:
		return nil, errors.New("indexes are nested too deep")
	}
	var index ocispec.Index
	if err := readDocument(ctx, store, desc, maxManifest, &index); err != nil {
		return nil, err
	}
	for _, child := range index.Manifests {
		if err := checkDigest(child.Digest); err != nil {
			return nil, err
		}
		// The other platforms of an image need not be there.
		if _, err := store.Info(ctx, child.Digest); errdefs.IsNotFound(err) {
			continue
		}
		if _, err := i.check(ctx, store, child, depth+1); err != nil {
			return nil, err
		}
	}
	return nil, nil //nolint:nilnil // an index has no platform
}

// present says whether the content is there that a descriptor names: in the archive, or before it came.
func (i *importer) present(ctx context.Context, store content.Store, desc ocispec.Descriptor) error {
	if err := checkDigest(desc.Digest); err != nil {
		return err
	}
	info, err := store.Info(ctx, desc.Digest)
	if errdefs.IsNotFound(err) {
		return fmt.Errorf("the archive has no %s", desc.Digest)
	}
	if err != nil {
		return err
	}
	if info.Size != desc.Size {
		return fmt.Errorf("%s has %d bytes, not the %d that are said", desc.Digest, info.Size, desc.Size)
	}
	return nil
}

func (i *importer) checkManifest(ctx context.Context, store content.Store, desc ocispec.Descriptor) (*ocispec.Platform, error) {
	var manifest ocispec.Manifest
	if err := readDocument(ctx, store, desc, maxManifest, &manifest); err != nil {
		return nil, err
	}
	for _, blob := range append([]ocispec.Descriptor{manifest.Config}, manifest.Layers...) {
		if i.visited++; i.visited > maxVisits {
			return nil, fmt.Errorf("%w: it refers to more than %d manifests and layers", ErrTooLarge, maxVisits)
		}
		if err := i.present(ctx, store, blob); err != nil {
			return nil, err
		}
	}
	if isAttestation(desc) {
		return desc.Platform, nil
	}
	config, err := readConfig(ctx, store, manifest.Config, len(manifest.Layers))
	return platformOf(config), err
}

func platformOf(config dockerspec.DockerOCIImage) *ocispec.Platform {
	p := platforms.Normalize(ocispec.Platform{OS: config.OS, Architecture: config.Architecture, Variant: config.Variant})
	return &p
}

// readConfig reads an image's configuration, which must fit the number of layers.
func readConfig(ctx context.Context, store content.Provider, desc ocispec.Descriptor, layers int) (dockerspec.DockerOCIImage, error) {
	var config dockerspec.DockerOCIImage
	if err := readDocument(ctx, store, desc, maxConfig, &config); err != nil {
		return config, fmt.Errorf("configuration: %w", err)
	}
	if len(config.RootFS.DiffIDs) != layers {
		return config, fmt.Errorf("configuration %s is of %d layers, the image has %d", desc.Digest, len(config.RootFS.DiffIDs), layers)
	}
	for _, id := range config.RootFS.DiffIDs {
		if err := checkDigest(id); err != nil {
			return config, fmt.Errorf("configuration %s: %w", desc.Digest, err)
		}
	}
	return config, nil
}

// dockerImages follows docker's manifest.json and makes a manifest for each image, in OCI's words: so that what is saved is
// an OCI layout in which others find it (skopeo looks for no other manifests).
func (i *importer) dockerImages(ctx context.Context, store content.Store) ([]ocispec.Descriptor, error) {
	var entries []struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	if err := json.Unmarshal(i.texts[dockerManifest], &entries); err != nil {
		return nil, fmt.Errorf("parse %s: %w", dockerManifest, err)
	}
	var list []ocispec.Descriptor
	for _, e := range entries {
		desc, err := i.dockerImage(ctx, store, e.Config, e.Layers)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", dockerManifest, err)
		}
		if len(e.RepoTags) == 0 {
			list = append(list, desc)
		}
		for _, name := range e.RepoTags {
			desc.Annotations = map[string]string{images.AnnotationImageName: name}
			list = append(list, desc)
		}
	}
	return list, nil
}

func (i *importer) dockerImage(ctx context.Context, store content.Store, configName string, layerNames []string) (ocispec.Descriptor, error) {
	configDesc, err := i.file(configName)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	configDesc.MediaType = ocispec.MediaTypeImageConfig
	config, err := readConfig(ctx, store, configDesc, len(layerNames))
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	manifest := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Config: configDesc, Layers: []ocispec.Descriptor{}}
	for _, name := range layerNames {
		if i.visited++; i.visited > maxVisits {
			return ocispec.Descriptor{}, fmt.Errorf("%w: it refers to more than %d layers", ErrTooLarge, maxVisits)
		}
		layer, err := i.layer(ctx, store, name)
		if err != nil {
			return ocispec.Descriptor{}, err
		}
		manifest.Layers = append(manifest.Layers, layer)
	}
	desc, err := writeJSON(ctx, store, manifest.MediaType, manifest)
	desc.Platform = platformOf(config)
	return desc, err
}

// layer looks into a layer of a docker archive, which does not say whether it is compressed. What is compressed in a way
// that a manifest has no name for is stored without.
func (i *importer) layer(ctx context.Context, store content.Store, name string) (ocispec.Descriptor, error) {
	desc, err := i.file(name)
	if err != nil {
		return desc, err
	}
	blob, err := store.ReaderAt(ctx, desc)
	if err != nil {
		return desc, err
	}
	defer blob.Close()
	var head [6]byte
	n, err := blob.ReadAt(head[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return desc, err
	}
	desc.MediaType = ocispec.MediaTypeImageLayer
	switch decompress.Sniff(head[:n]) {
	case decompress.None:
	case decompress.Gzip:
		desc.MediaType = ocispec.MediaTypeImageLayerGzip
	case decompress.Zstd:
		desc.MediaType = ocispec.MediaTypeImageLayerZstd
	case decompress.Bzip2, decompress.Xz:
		plain, err := decompress.New(content.NewReader(blob))
		if err != nil {
			return desc, err
		}
		defer plain.Close()
		b := &budget{limits: i.limits, root: i.root, size: blob.Size}
		if desc, err = i.store(ctx, store, b.reader(plain), 0); err != nil {
			return desc, fmt.Errorf("layer %q: %w", shortened(name), err)
		}
		desc.MediaType = ocispec.MediaTypeImageLayer
	}
	return desc, nil
}

// readDocument reads a JSON document of the content store.
func readDocument(ctx context.Context, store content.Provider, desc ocispec.Descriptor, limit int64, v any) error {
	if desc.Size > limit {
		return fmt.Errorf("%s %s is %w: %d bytes, more than %d", desc.MediaType, desc.Digest, ErrTooLarge, desc.Size, limit)
	}
	data, err := content.ReadBlob(ctx, store, desc)
	if err != nil {
		return fmt.Errorf("read %s: %w", desc.Digest, err)
	}
	if err := checkValues(data); err != nil {
		return fmt.Errorf("%s %s %w", desc.MediaType, desc.Digest, err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("parse %s %s: %w", desc.MediaType, desc.Digest, err)
	}
	return nil
}
