package clients

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/distribution/reference"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/exporter"
	"github.com/moby/buildkit/exporter/containerimage/exptypes"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/worker"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Worker is a worker that has ExporterMoby.
type Worker struct {
	worker.Worker
	Dangling string // as in Config

	// Record gives a result that the exporter has stored its names, and returns the image's ID.
	Record func(ctx context.Context, names []string, answer map[string]string) (id string, err error)
}

// Platforms are the worker's own. BuildKit's tries out, when it is asked, which others the host could run: builds for those
// are refused.
func (w *Worker) Platforms(bool) []ocispec.Platform { return w.Worker.Platforms(false) }

// Exporter is BuildKit's own but for the image store.
func (w *Worker) Exporter(name string, sm *session.Manager) (exporter.Exporter, error) {
	if name != ExporterMoby {
		return w.Worker.Exporter(name, sm)
	}
	inner, err := w.Worker.Exporter(client.ExporterImage, sm)
	if err != nil {
		return nil, err
	}
	return imageExporter{inner, w}, nil
}

// imageExporter stores images. BuildKit's would name an image before its layers are unpacked; here it is stored without a
// name, and gets its names from Record.
type imageExporter struct {
	inner  exporter.Exporter
	worker *Worker
}

// Resolve reads the attributes, which are those of BuildKit's image exporter.
func (e imageExporter) Resolve(ctx context.Context, id int, attrs map[string]string) (exporter.ExporterInstance, error) {
	names, push, err := imageAttrs(attrs)
	if err != nil {
		return nil, err
	}
	stored := maps.Clone(attrs)
	if stored == nil {
		stored = map[string]string{}
	}
	for _, key := range []exptypes.ImageExporterOptKey{exptypes.OptKeyName, exptypes.OptKeyPush, exptypes.OptKeyPushByDigest, exptypes.OptKeyInsecure, exptypes.OptKeyNameCanonical, exptypes.OptKeyStore} {
		delete(stored, string(key))
	}
	stored[string(exptypes.OptKeyUnpack)] = "true"
	stored[string(exptypes.OptKeyDanglingPrefix)] = e.worker.Dangling
	preset(stored, exptypes.OptKeyOCITypes, "true")
	compress(stored, push)
	inst, err := e.inner.Resolve(ctx, id, stored)
	if err != nil {
		return nil, err
	}
	out := &imageInstance{ExporterInstance: inst, names: names, record: e.worker.Record}
	if push {
		pushed := maps.Clone(attrs)
		pushed[string(exptypes.OptKeyName)] = strings.Join(names, ",")
		pushed[string(exptypes.OptKeyStore)] = "false"
		preset(pushed, exptypes.OptKeyOCITypes, "true")
		compress(pushed, push)
		if out.push, err = e.inner.Resolve(ctx, id, pushed); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// compress chooses how layers lie in the image, unless the client has: those that are read here as they are, those that are
// sent compressed, even when an earlier build has left them in the cache as they are.
func compress(attrs map[string]string, push bool) {
	if _, chosen := attrs[string(exptypes.OptKeyLayerCompression)]; chosen {
		return
	}
	if push {
		preset(attrs, exptypes.OptKeyLayerCompression, "gzip")
		preset(attrs, exptypes.OptKeyForceCompression, "true")
		return
	}
	preset(attrs, exptypes.OptKeyLayerCompression, "uncompressed")
}

func preset(attrs map[string]string, key exptypes.ImageExporterOptKey, value string) {
	if _, ok := attrs[string(key)]; !ok {
		attrs[string(key)] = value
	}
}

func boolean(attrs map[string]string, key exptypes.ImageExporterOptKey) (bool, error) {
	v, ok := attrs[string(key)]
	if !ok || v == "" {
		return ok, nil
	}
	b, err := strconv.ParseBool(v)
	if err != nil {
		return false, fmt.Errorf("non-bool value specified for %s: %w", key, err)
	}
	return b, nil
}

// imageInstance is one export.
type imageInstance struct {
	exporter.ExporterInstance
	push   exporter.ExporterInstance // nil: to no registry
	names  []string
	record func(context.Context, []string, map[string]string) (string, error)
}

// Type is what clients know.
func (i *imageInstance) Type() string { return ExporterMoby }

// Export stores the image, and prepares to push it.
func (i *imageInstance) Export(ctx context.Context, src *exporter.Source, info exporter.ExportBuildInfo) (map[string]string, exporter.FinalizeFunc, exporter.DescriptorReference, error) {
	answer, finalize, ref, err := i.ExporterInstance.Export(ctx, src, info)
	if err != nil {
		return nil, nil, nil, err
	}
	fail := func(err error) (map[string]string, exporter.FinalizeFunc, exporter.DescriptorReference, error) {
		return nil, nil, nil, errors.Join(err, release(ref))
	}
	id, err := i.record(ctx, i.names, answer)
	if err != nil {
		return fail(err)
	}
	answer[exptypes.ExporterImageConfigDigestKey] = id // with attestations the exporter tells of none
	delete(answer, exptypes.ExporterImageNameKey)
	if len(i.names) > 0 {
		answer[exptypes.ExporterImageNameKey] = strings.Join(i.names, ",")
	}
	if i.push == nil {
		return answer, finalize, ref, nil
	}
	_, finalize, again, err := i.push.Export(ctx, src, info)
	if err != nil {
		return fail(err)
	}
	return answer, finalize, both{ref, again}, nil
}

func release(ref exporter.DescriptorReference) error {
	if ref == nil {
		return nil
	}
	return ref.Release()
}

// both are the references of an image that was exported twice.
type both struct {
	exporter.DescriptorReference
	other exporter.DescriptorReference
}

// Release lets go of both.
func (b both) Release() error { return errors.Join(release(b.DescriptorReference), release(b.other)) }

// imageAttrs reads the names that an image is to have, and whether it goes to their registries.
func imageAttrs(attrs map[string]string) (names []string, push bool, err error) {
	if names, err = imageNames(attrs); err != nil {
		return nil, false, err
	}
	if push, err = boolean(attrs, exptypes.OptKeyPush); err != nil {
		return nil, false, err
	}
	if push && len(names) == 0 {
		return nil, false, errors.New("tag is needed when pushing to registry")
	}
	return names, push, nil
}

// imageNames reads the names that an image is to have, in full.
func imageNames(attrs map[string]string) ([]string, error) {
	var names []string
	for name := range strings.SplitSeq(attrs[string(exptypes.OptKeyName)], ",") {
		if name == "" {
			continue
		}
		ref, err := reference.ParseNormalizedNamed(name)
		if err != nil {
			return nil, fmt.Errorf("invalid tag %q: %w", name, err)
		}
		if _, ok := ref.(reference.Digested); ok {
			return nil, fmt.Errorf("invalid tag %q: build tag cannot contain a digest", name)
		}
		if full := reference.TagNameOnly(ref).String(); !slices.Contains(names, full) {
			names = append(names, full)
		}
	}
	return names, nil
}
