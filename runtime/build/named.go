package build

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/distribution/reference"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/identity"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tutti/runtime/image"
)

const (
	layoutScheme = "oci-layout://"
	// maxIndex bounds the index.json of an image layout.
	maxIndex = 8 << 20
	// annotationName is how containerd and docker name an image in a layout.
	annotationName = "io.containerd.image.name"
)

// addBuiltContexts gives images of the store to the frontend as inputs. As
// "docker-image://" they would be looked for in a registry when newer bases are
// asked for.
func (b *Builder) addBuiltContexts(ctx context.Context, solve *client.SolveOpt, contexts map[string]string) error {
	for name, ref := range contexts {
		normal, config, err := b.configOf(ctx, ref)
		if err != nil {
			return fmt.Errorf("additional context %s: %w", name, err)
		}
		state, err := llb.Image(normal, llb.ResolveModePreferLocal, llb.WithCustomName("[context "+name+"] "+ref)).WithImageConfig(config)
		if err != nil {
			return fmt.Errorf("additional context %s: %w", name, err)
		}
		meta, err := json.Marshal(map[string][]byte{"containerimage.config": config})
		if err != nil {
			return err
		}
		if solve.FrontendInputs == nil {
			solve.FrontendInputs = map[string]llb.State{}
		}
		solve.FrontendInputs[name] = state
		solve.FrontendAttrs["context:"+name] = "input:" + name
		solve.FrontendAttrs["input-metadata:"+name] = string(meta)
	}
	return nil
}

// configOf reads the configuration of an image of the store, as it is stored.
func (b *Builder) configOf(ctx context.Context, ref string) (name string, config []byte, err error) {
	if name, err = image.Normalize(ref); err != nil {
		return "", nil, err
	}
	found, err := b.store.Get(ctx, name)
	if err != nil {
		return "", nil, err
	}
	ctx = namespaces.WithNamespace(ctx, b.backend.Namespace)
	info, err := b.backend.Content.Info(ctx, digest.Digest(found.ID))
	if err != nil {
		return "", nil, fmt.Errorf("find the configuration: %w", err)
	}
	config, err = content.ReadBlob(ctx, b.backend.Content, ocispec.Descriptor{Digest: info.Digest, Size: info.Size})
	if err != nil {
		return "", nil, fmt.Errorf("read the configuration: %w", err)
	}
	return name, config, nil
}

// addLayout lets the solver read an image from a folder in the OCI image layout
// (image-spec, image-layout.md), named by "folder[:tag][@digest]", and returns how
// the frontend calls it.
func addLayout(solve *client.SolveOpt, spec string) (string, error) {
	dir, tag, dgst := parseLayout(spec)
	if _, err := os.Stat(filepath.Join(dir, ocispec.ImageLayoutFile)); err != nil {
		return "", fmt.Errorf("%s is no OCI image layout: %w", dir, err)
	}
	if dgst == "" {
		found, err := resolveLayout(dir, tag)
		if err != nil {
			return "", err
		}
		dgst = found
	}
	blobs, err := local.NewStore(dir)
	if err != nil {
		return "", fmt.Errorf("open image layout %s: %w", dir, err)
	}
	id := identity.NewID()
	if solve.OCIStores == nil {
		solve.OCIStores = map[string]content.Store{}
	}
	solve.OCIStores[id] = blobs
	return layoutScheme + id + ":" + cmp.Or(tag, "latest") + "@" + string(dgst), nil
}

// parseLayout takes "folder[:tag][@digest]" apart.
func parseLayout(spec string) (dir, tag string, dgst digest.Digest) {
	dir = spec
	if before, after, ok := strings.Cut(spec, "@"); ok {
		if parsed, err := digest.Parse(after); err == nil {
			dir, dgst = before, parsed
		}
	}
	if i := strings.LastIndex(dir, ":"); i > 0 && !strings.Contains(dir[i:], "/") {
		dir, tag = dir[:i], dir[i+1:]
	}
	return dir, tag, dgst
}

// resolveLayout finds a tag in a layout's index; without a tag it is "latest", or the
// only image that there is.
func resolveLayout(dir, tag string) (digest.Digest, error) {
	file := filepath.Join(dir, ocispec.ImageIndexFile)
	info, err := os.Stat(file)
	if err != nil {
		return "", fmt.Errorf("image layout: %w", err)
	}
	if info.Size() > maxIndex {
		return "", fmt.Errorf("image layout: %s has %d bytes, more than %d", file, info.Size(), maxIndex)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("image layout: %w", err)
	}
	var index ocispec.Index
	if err := json.Unmarshal(data, &index); err != nil {
		return "", fmt.Errorf("image layout: %s: %w", file, err)
	}
	wanted := cmp.Or(tag, "latest")
	for _, m := range index.Manifests {
		if isTagged(m, wanted) {
			return m.Digest, nil
		}
	}
	if tag == "" && len(index.Manifests) == 1 {
		return index.Manifests[0].Digest, nil
	}
	return "", errors.New("image layout: " + dir + " has no image with the tag " + wanted)
}

func isTagged(m ocispec.Descriptor, tag string) bool {
	if m.Annotations[ocispec.AnnotationRefName] == tag {
		return true
	}
	ref, err := reference.ParseNormalizedNamed(m.Annotations[annotationName])
	if err != nil {
		return false
	}
	tagged, ok := ref.(reference.Tagged)
	return ok && tagged.Tag() == tag
}
