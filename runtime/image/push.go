package image

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/transfer"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tutti/runtime/image/registry"
)

// PushOptions of Push; the zero value pushes anonymously and silently.
type PushOptions struct {
	Platform string // "linux/arm64": of an index, the image for this one alone; empty for all that is there
	Auth     Auth
	Progress func(Progress) // nil: silent; called from one goroutine at a time
}

// Pushed says what the registry has now.
type Pushed struct {
	Digest digest.Digest // of the manifest or index under the name
	Size   int64         // bytes of the manifest or index
}

// Push uploads an image under its name: layers in parallel, what the registry has is not sent again, and layers that came
// from another repository of the same registry are taken from there. Of an index of which the store has only one
// platform's image, that image is pushed, as docker does.
func (s *Store) Push(ctx context.Context, ref string, o PushOptions) (Pushed, error) {
	name, err := Normalize(ref)
	if err != nil {
		return Pushed{}, err
	}
	image, err := s.Get(ctx, name)
	if err != nil {
		return Pushed{}, err
	}
	target := image.target
	if o.Platform != "" {
		if target, err = s.platformManifest(ctx, image, o.Platform); err != nil {
			return Pushed{}, fmt.Errorf("push %s: %w", Familiar(name), err)
		}
	} else if whole, err := s.isWhole(ctx, target); err != nil {
		return Pushed{}, fmt.Errorf("push %s: %w", Familiar(name), err)
	} else if !whole {
		target = image.manifest
	}
	target.Annotations = nil
	var options []transfer.Opt
	if o.Progress != nil {
		options = append(options, transfer.WithProgress(layerProgress(Familiar(name), pushStatusOf, o.Progress)))
	}
	err = registry.Retry(ctx, func() error {
		return s.transfer.Transfer(scope(ctx), pushSource{name: name, target: target}, s.remote(name, o.Auth), options...)
	})
	if err != nil {
		return Pushed{}, fmt.Errorf("push %s: %w", Familiar(name), registry.Explain(err, host(name)))
	}
	if err := s.markPushed(ctx, name, target.Digest); err != nil {
		return Pushed{}, fmt.Errorf("push %s: note that the registry has it: %w", Familiar(name), err)
	}
	return Pushed{Digest: target.Digest, Size: target.Size}, nil
}

// markPushed notes that the registry knows an image by its digest, as after a pull, unless the name has another target by now.
func (s *Store) markPushed(ctx context.Context, name string, pushed digest.Digest) error {
	record, err := s.records.Get(ctx, name)
	if errdefs.IsNotFound(err) || err == nil && record.Target.Digest != pushed {
		return nil
	}
	if err != nil {
		return err
	}
	record.Labels = maps.Clone(record.Labels)
	if record.Labels == nil {
		record.Labels = map[string]string{}
	}
	record.Labels[labelPulled] = time.Now().UTC().Format(time.RFC3339)
	if _, err := s.records.Update(ctx, record); err != nil && !errdefs.IsNotFound(err) {
		return err
	}
	return nil
}

// platformManifest finds the image for a platform in what a name points to.
func (s *Store) platformManifest(ctx context.Context, image Image, platform string) (ocispec.Descriptor, error) {
	wanted, err := platforms.Parse(platform)
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("platform %q: %w", platform, err)
	}
	match := platforms.OnlyStrict(wanted)
	found, body, err := s.findManifest(ctx, image.target, match)
	if err != nil {
		return found, err
	}
	var config struct{ ocispec.Platform }
	if err := s.readJSON(ctx, body.Config, maxConfig, &config); err != nil {
		return found, err
	}
	if !match.Match(config.Platform) {
		return found, fmt.Errorf("%w for %s in the store", ErrNoPlatform, platforms.Format(wanted))
	}
	found.Annotations, found.Platform = nil, nil
	return found, nil
}

// pushSource is an image as the transfer service wants it.
type pushSource struct {
	name   string
	target ocispec.Descriptor
}

func (p pushSource) Get(context.Context, images.Store) (images.Image, error) {
	return images.Image{Name: p.name, Target: p.target}, nil
}

// isWhole tells whether everything that a target refers to is in the store.
func (s *Store) isWhole(ctx context.Context, target ocispec.Descriptor) (bool, error) {
	ctx = scope(ctx)
	whole := true
	err := images.Walk(ctx, images.HandlerFunc(func(ctx context.Context, desc ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		exists, err := content.Exists(ctx, s.content, desc)
		if err != nil {
			return nil, err
		}
		if !exists {
			whole = false
			return nil, nil
		}
		return images.Children(ctx, s.content, desc)
	}), target)
	return whole, err
}
