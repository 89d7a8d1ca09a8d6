package image

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	// labelPlatform on a record: the platform that was asked for, when it is not the host's.
	labelPlatform = "tutti/platform"
	// labelPulled on a record: the target's digest is known to a registry; when that was asked last (RFC 3339).
	labelPulled = "tutti/pulled"
	// maxManifest and maxConfig bound what is read into memory, as in containerd and BuildKit.
	maxManifest = 8 << 20
	maxConfig   = 16 << 20
)

// Image is what is known of an image. It is a value: slices and maps are shared
// and must not be changed.
type Image struct {
	ID          string        // digest of the configuration, "sha256:..."
	Names       []string      // familiar names with tags, sorted; empty for a dangling image
	RepoDigests []string      // "nginx@sha256:..." for what was pulled
	Digest      digest.Digest // of the manifest or index that the names point to
	Created     time.Time
	Size        int64 // bytes of the unpacked layers; 0 when they are not unpacked
	Arch        string
	OS          string
	Variant     string
	Author      string
	History     []ocispec.History
	Layers      []digest.Digest // uncompressed layers, bottom first

	// Config has the OCI fields (Env, Cmd, Entrypoint, User, WorkingDir, Volumes,
	// StopSignal, ExposedPorts, Labels) and docker's: Healthcheck, OnBuild, Shell.
	Config dockerspec.DockerOCIImageConfig

	target   ocispec.Descriptor
	manifest ocispec.Descriptor
	labels   map[string]string
}

// Platform is the image's platform in the usual form, such as "linux/amd64".
func (i Image) Platform() string {
	return platforms.Format(platforms.Normalize(ocispec.Platform{OS: i.OS, Architecture: i.Arch, Variant: i.Variant}))
}

// IsFor tells whether the image is for a platform, written as "os/arch[/variant]"; every image is for none in particular.
func (i Image) IsFor(platform string) bool {
	if platform == "" {
		return true
	}
	wanted, err := platforms.Parse(platform)
	return err == nil && platforms.Only(wanted).Match(ocispec.Platform{OS: i.OS, Architecture: i.Arch, Variant: i.Variant})
}

// chainID names the snapshot of the topmost layer; empty for an image without layers.
func (i Image) chainID() string { return identity.ChainID(i.Layers).String() }

// describe reads the manifest and the configuration that a record points to.
func (s *Store) describe(ctx context.Context, record images.Image) (Image, error) {
	match := platforms.Default()
	if p, err := platforms.Parse(record.Labels[labelPlatform]); err == nil {
		match = platforms.Only(p)
	}
	manifest, body, err := s.findManifest(ctx, record.Target, match)
	if err != nil {
		return Image{}, err
	}
	var config dockerspec.DockerOCIImage
	if err := s.readJSON(ctx, body.Config, maxConfig, &config); err != nil {
		return Image{}, fmt.Errorf("read configuration: %w", err)
	}
	image := Image{
		ID: body.Config.Digest.String(), Digest: record.Target.Digest,
		Arch: config.Architecture, OS: config.OS, Variant: config.Variant,
		Author: config.Author, History: config.History, Layers: config.RootFS.DiffIDs, Config: config.Config,
		target: record.Target, manifest: manifest, labels: record.Labels,
	}
	if config.Created != nil {
		image.Created = *config.Created
	}
	sizes, err := s.LayerSizes(ctx, image)
	for _, size := range sizes {
		image.Size += size
	}
	return image, err
}

// findManifest follows an index to the manifest that fits best among those that are
// in the store; a manifest of another platform will do when it is the only one.
func (s *Store) findManifest(ctx context.Context, target ocispec.Descriptor, match platforms.MatchComparer) (ocispec.Descriptor, ocispec.Manifest, error) {
	var manifest ocispec.Manifest
	if images.IsManifestType(target.MediaType) {
		err := s.readJSON(ctx, target, maxManifest, &manifest)
		return target, manifest, err
	}
	if !images.IsIndexType(target.MediaType) {
		return target, manifest, fmt.Errorf("%s is a %s, not an image", target.Digest, target.MediaType)
	}
	var index ocispec.Index
	if err := s.readJSON(ctx, target, maxManifest, &index); err != nil {
		return target, manifest, err
	}
	for _, candidate := range sortByPlatform(index.Manifests, match) {
		if !images.IsManifestType(candidate.MediaType) {
			continue
		}
		err := s.readJSON(ctx, candidate, maxManifest, &manifest)
		if err == nil {
			return candidate, manifest, nil
		}
		if !errdefs.IsNotFound(err) {
			return target, manifest, err
		}
	}
	return target, manifest, fmt.Errorf("index %s has no manifest in the store: %w", target.Digest, errdefs.ErrNotFound)
}

// sortByPlatform puts what runs here first and leaves out attestations.
func sortByPlatform(manifests []ocispec.Descriptor, match platforms.MatchComparer) []ocispec.Descriptor {
	list := slices.DeleteFunc(slices.Clone(manifests), isAttestation)
	platformOf := func(d ocispec.Descriptor) ocispec.Platform {
		if d.Platform == nil {
			return platforms.DefaultSpec()
		}
		return *d.Platform
	}
	slices.SortStableFunc(list, func(a, b ocispec.Descriptor) int {
		switch pa, pb := platformOf(a), platformOf(b); {
		case match.Less(pa, pb):
			return -1
		case match.Less(pb, pa):
			return 1
		}
		return 0
	})
	return list
}

// isAttestation recognises BuildKit's provenance and SBOM manifests.
func isAttestation(d ocispec.Descriptor) bool {
	return d.Annotations["vnd.docker.reference.type"] == "attestation-manifest" ||
		d.Platform != nil && d.Platform.OS == "unknown"
}

func (s *Store) readJSON(ctx context.Context, desc ocispec.Descriptor, limit int64, v any) error {
	return readDocument(scope(ctx), s.content, desc, limit, v)
}
