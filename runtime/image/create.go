package image

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/klauspost/compress/gzip"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// New is an image that Create makes.
type New struct {
	Base     *Image // whose layers are below; nil: none
	Config   dockerspec.DockerOCIImageConfig
	Platform ocispec.Platform
	Author   string
	History  ocispec.History // of the new layer; without the time
	Name     string          // "": it is a dangling image
}

// Create makes an image of a layer, on top of another image's layers or alone. layer writes the layer's tar; it is called
// once. The image is recorded when it is whole and unpacked; after an error the store is as it was.
func (s *Store) Create(ctx context.Context, n New, layer func(io.Writer) error) (_ Image, err error) {
	name, err := createdName(n.Name)
	if err != nil {
		return Image{}, err
	}
	defer s.Begin()()
	leased, release, err := s.lease(scope(ctx))
	if err != nil {
		return Image{}, err
	}
	defer func() {
		err = joinRelease(err, release)
		if err != nil {
			err = errors.Join(err, s.GarbageCollect(context.WithoutCancel(ctx)))
		}
	}()
	blob, diffID, err := s.writeLayer(leased, layer)
	if err != nil {
		return Image{}, fmt.Errorf("write the layer: %w", err)
	}
	target, err := s.compose(leased, n, blob, diffID)
	if err != nil {
		return Image{}, err
	}
	if err := s.unpackLayers(leased, target); err != nil {
		return Image{}, cause(err)
	}
	if name == "" {
		name = danglingName(target.Digest)
	}
	record := images.Image{Name: name, Target: target}
	if n.Base != nil {
		record.Labels = map[string]string{labelParent: n.Base.ID}
	}
	if err := s.records.put(leased, []images.Image{record}); err != nil {
		return Image{}, err
	}
	return s.stored(ctx, name)
}

// createdName is the full name of a new image.
func createdName(name string) (string, error) {
	if name == "" {
		return "", nil
	}
	full, err := Normalize(name)
	if err == nil && strings.Contains(full, "@") {
		err = fmt.Errorf("invalid image name %q: a tag cannot have a digest", name)
	}
	return full, err
}

// writeLayer stores a layer, compressed so that every tool can read it.
func (s *Store) writeLayer(ctx context.Context, layer func(io.Writer) error) (_ ocispec.Descriptor, diffID digest.Digest, err error) {
	ref := "create-" + rand.Text()
	w, err := content.OpenWriter(ctx, s.content, content.WithRef(ref))
	if err != nil {
		return ocispec.Descriptor{}, "", err
	}
	defer func() {
		_ = w.Close() // committed, or of no use
		if err != nil {
			if e := s.content.Abort(context.WithoutCancel(ctx), ref); !errdefs.IsNotFound(e) {
				err = errors.Join(err, e)
			}
		}
	}()
	compressed, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err != nil {
		return ocispec.Descriptor{}, "", err
	}
	plain := digest.Canonical.Digester()
	if err := layer(io.MultiWriter(compressed, plain.Hash())); err != nil {
		return ocispec.Descriptor{}, "", err
	}
	if err := compressed.Close(); err != nil {
		return ocispec.Descriptor{}, "", err
	}
	status, err := w.Status()
	if err != nil {
		return ocispec.Descriptor{}, "", err
	}
	blob := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerGzip, Digest: w.Digest(), Size: status.Offset}
	if err := w.Commit(ctx, blob.Size, blob.Digest); err != nil && !errdefs.IsAlreadyExists(err) {
		return ocispec.Descriptor{}, "", err
	}
	return blob, plain.Digest(), nil
}

// compose writes configuration and manifest, in the words of the base's.
func (s *Store) compose(ctx context.Context, n New, layer ocispec.Descriptor, diffID digest.Digest) (ocispec.Descriptor, error) {
	manifest := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	configType := ocispec.MediaTypeImageConfig
	now := time.Now().UTC()
	n.History.Created = &now
	config := dockerspec.DockerOCIImage{Config: n.Config}
	config.Created, config.Author, config.Platform = &now, n.Author, n.Platform
	config.RootFS.Type = "layers"
	if n.Base != nil {
		var base ocispec.Manifest
		if err := readDocument(ctx, s.content, n.Base.manifest, maxManifest, &base); err != nil {
			return ocispec.Descriptor{}, err
		}
		if n.Base.manifest.MediaType == images.MediaTypeDockerSchema2Manifest {
			manifest.MediaType, configType = images.MediaTypeDockerSchema2Manifest, images.MediaTypeDockerSchema2Config
			layer.MediaType = images.MediaTypeDockerSchema2LayerGzip
		}
		manifest.Layers = base.Layers
		config.RootFS.DiffIDs = slices.Clone(n.Base.Layers)
		config.History = slices.Clone(n.Base.History)
	}
	manifest.Layers = append(manifest.Layers, layer)
	config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, diffID)
	config.History = append(config.History, n.History)
	var err error
	if manifest.Config, err = writeJSON(ctx, s.content, configType, config); err != nil {
		return ocispec.Descriptor{}, err
	}
	target, err := writeJSON(ctx, s.content, manifest.MediaType, manifest)
	if err != nil {
		return target, err
	}
	// The collector follows labels.
	children := images.SetChildrenMappedLabels(s.content, images.ChildrenHandler(s.content), nil)
	return target, images.Walk(ctx, children, target)
}
