package build

import (
	"context"
	"log/slog"
	"maps"
	"slices"

	"github.com/containerd/containerd/v2/pkg/labels"
	"github.com/moby/buildkit/cache"
	"github.com/moby/buildkit/cache/config"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/exporter"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/util/leaseutil"
	"github.com/moby/buildkit/worker/base"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"

	"tutti/runtime/image"
)

// sharingWorker is BuildKit's worker, but that the layers of an image which is stored are those of the build cache: they are
// known under both names. BuildKit alone would write each layer a second time, from its compressed form.
type sharingWorker struct {
	*base.Worker
	backend image.Backend
}

// Exporter finds an exporter by its type.
func (w *sharingWorker) Exporter(name string, sessions *session.Manager) (exporter.Exporter, error) {
	e, err := w.Worker.Exporter(name, sessions)
	if err != nil || name != client.ExporterImage {
		return e, err
	}
	return &sharingExporter{Exporter: e, worker: w}, nil
}

type sharingExporter struct {
	exporter.Exporter
	worker *sharingWorker
}

func (e *sharingExporter) Resolve(ctx context.Context, id int, attrs map[string]string) (exporter.ExporterInstance, error) {
	i, err := e.Exporter.Resolve(ctx, id, attrs)
	if err != nil {
		return nil, err
	}
	return &sharingInstance{ExporterInstance: i, worker: e.worker}, nil
}

type sharingInstance struct {
	exporter.ExporterInstance
	worker *sharingWorker
}

// Export has the image stored, after its layers got their second names. Those that cannot be shared are unpacked.
func (e *sharingInstance) Export(ctx context.Context, src *exporter.Source, info exporter.ExportBuildInfo) (map[string]string, exporter.FinalizeFunc, exporter.DescriptorReference, error) {
	ctx, release, err := leaseutil.WithLease(ctx, e.worker.LeaseManager(), leaseutil.MakeTemporary)
	if err != nil {
		return nil, nil, nil, err
	}
	defer func() {
		if err := release(context.WithoutCancel(ctx)); err != nil {
			slog.WarnContext(ctx, "the lease of an export is left to expire", "error", err)
		}
	}()
	refs := slices.Collect(maps.Values(src.Refs))
	if src.Ref != nil {
		refs = append(refs, src.Ref)
	}
	for _, ref := range refs {
		if ref == nil {
			continue
		}
		if err := e.share(ctx, ref, session.NewGroup(info.SessionID)); err != nil {
			return nil, nil, nil, err
		}
	}
	return e.ExporterInstance.Export(ctx, src, info)
}

// share gives the layers of a result the names that they have in an image.
func (e *sharingInstance) share(ctx context.Context, ref cache.ImmutableRef, s session.Group) error {
	remotes, err := ref.GetRemotes(ctx, true, config.RefConfig{Compression: e.Config().Compression()}, false, s)
	if err != nil {
		return err
	}
	layers := remotes[0].Descriptors
	refs := ref.LayerChain()
	defer refs.Release(context.WithoutCancel(ctx)) //nolint:errcheck // of what ref holds, too
	if len(refs) != len(layers) {
		return nil
	}
	diffs := make([]digest.Digest, len(layers))
	for i, l := range layers {
		diffs[i] = digest.Digest(l.Annotations[labels.LabelUncompressed])
	}
	below := ""
	for i, chain := range identity.ChainIDs(diffs) {
		if err := refs[i].Finalize(ctx); err != nil {
			return err
		}
		if err := e.worker.backend.Share(ctx, refs[i].GetString(keySnapshot), below, chain.String()); err != nil {
			return err
		}
		below = chain.String()
	}
	return nil
}
