package build

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/moby/buildkit/cache/metadata"
	"github.com/moby/buildkit/client"
	"github.com/opencontainers/go-digest"
)

// Usage lists the records of the build cache, sizes in bytes. filter is in BuildKit's language, "type==regular". Shared are
// those whose layer an image has, too; BuildKit also says so of layers that have the same content, but lie there twice.
func (b *Builder) Usage(ctx context.Context, filter ...string) ([]*client.UsageInfo, error) {
	list, err := b.conn.client.DiskUsage(ctx, client.WithFilter(filter))
	if err != nil {
		return nil, fmt.Errorf("usage of the build cache: %w", err)
	}
	layers, err := b.layers()
	if err != nil {
		return nil, err
	}
	shared, err := b.backend.Shared(ctx)
	if err != nil {
		return nil, err
	}
	for _, u := range list {
		u.Shared = u.Shared && isChain(layers[u.ID]) || shared[layers[u.ID]]
	}
	return list, nil
}

// layers are the keys of the records' layers.
func (b *Builder) layers() (map[string]string, error) {
	items, err := b.records.All()
	if err != nil {
		return nil, fmt.Errorf("read the build cache: %w", err)
	}
	layers := map[string]string{}
	for _, i := range items {
		layers[i.ID()] = text(i, keySnapshot)
	}
	return layers, nil
}

// isChain tells whether a key is that of an image's layers, the digest of their chain, and not one of the builder's own.
func isChain(key string) bool { return digest.Digest(key).Validate() == nil }

// Prune removes records of the build cache that no build needs, and returns them; Shared are those whose layer stays, since
// an image has it. Without All, those that images have, too,
// stay. While a build runs, everything that builds have used since the last collection stays.
func (b *Builder) Prune(ctx context.Context, what client.PruneInfo) ([]client.UsageInfo, error) {
	if err := b.gc.letGo(ctx); err != nil {
		return nil, err
	}
	layers, err := b.layers()
	if err != nil {
		return nil, err
	}
	shared, err := b.backend.Shared(ctx)
	if err != nil {
		return nil, err
	}
	var all []client.UsageInfo
	removed := make(chan client.UsageInfo)
	var drained sync.WaitGroup
	drained.Go(func() {
		for u := range removed {
			all = append(all, u)
		}
	})
	options := []client.PruneOption{client.WithFilter(what.Filter), client.WithKeepOpt(what.KeepDuration, what.ReservedSpace, what.MaxUsedSpace, what.MinFreeSpace)}
	if what.All {
		options = append(options, client.PruneAll)
	}
	err = b.conn.client.Prune(ctx, removed, options...)
	close(removed)
	drained.Wait()
	b.repeats.forget()
	if err != nil {
		return all, fmt.Errorf("prune the build cache: %w", err)
	}
	for i := range all {
		_, err := b.backend.Snapshotter.Stat(namespaces.WithNamespace(ctx, b.backend.Namespace), layers[all[i].ID])
		all[i].Shared = err == nil || shared[layers[all[i].ID]]
	}
	return all, nil
}

// Fault is a record of the cache that does not stand on anything.
type Fault struct {
	Record  string
	Problem string
}

// names of what BuildKit keeps about a record, cache/metadata.go.
const (
	keySnapshot = "cache.snapshot"
	keyBlob     = "cache.blob"
	keyBlobOnly = "cache.blobonly"
	keyDeleted  = "cache.deleted"
	keyMutable  = "cache.equalMutable" // another record has the layer, and holds it
)

// keysLazy are of records that are put together of others, as by COPY --link: their layer is made when it is mounted.
var keysLazy = []string{"cache.mergeParents", "cache.lowerDiffParent", "cache.upperDiffParent"}

// Verify compares the records of the cache with what holds their layers in the image store. Records that are being made or
// removed meanwhile are no faults.
func (b *Builder) Verify(ctx context.Context) ([]Fault, error) {
	ctx = namespaces.WithNamespace(ctx, b.backend.Namespace)
	items, err := b.records.All()
	if err != nil {
		return nil, fmt.Errorf("read the build cache: %w", err)
	}
	leases, err := b.backend.Leases.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("list leases: %w", err)
	}
	held := map[string]bool{}
	for _, l := range leases {
		held[l.ID] = true
	}
	var faults []Fault
	for _, item := range items {
		if isSet(item, keyDeleted) || text(item, keySnapshot) == "" || text(item, keyMutable) != "" {
			continue // on its way out, not the cache manager's, or held by the other
		}
		problem := "nothing holds its layer"
		if held[item.ID()] {
			if problem, err = b.lacks(ctx, item); err != nil {
				return nil, err
			}
		}
		if problem != "" && b.still(item.ID()) {
			faults = append(faults, Fault{item.ID(), problem})
		}
	}
	return faults, nil
}

// lacks says what a record stands on that is not there, or nothing. A record that is known by its compressed layer alone, or
// as that of others, lacks nothing: its layer is made when it is needed.
func (b *Builder) lacks(ctx context.Context, item *metadata.StorageItem) (string, error) {
	if isSet(item, keyBlobOnly) || slices.ContainsFunc(keysLazy, func(key string) bool { return item.Get(key) != nil }) {
		return "", nil
	}
	layer, blob := text(item, keySnapshot), text(item, keyBlob)
	if _, err := b.backend.Snapshotter.Stat(ctx, layer); errdefs.IsNotFound(err) {
		return "its layer " + layer + " is missing", nil
	} else if err != nil {
		return "", fmt.Errorf("look up layer %s: %w", layer, err)
	}
	if blob == "" {
		return "", nil
	}
	if _, err := b.backend.Content.Info(ctx, digest.Digest(blob)); errdefs.IsNotFound(err) {
		return "its compressed layer " + blob + " is missing", nil
	} else if err != nil {
		return "", fmt.Errorf("look up content %s: %w", blob, err)
	}
	return "", nil
}

// still tells whether a record is there now.
func (b *Builder) still(id string) bool {
	items, err := b.records.All()
	return err == nil && slices.ContainsFunc(items, func(i *metadata.StorageItem) bool { return i.ID() == id && !isSet(i, keyDeleted) })
}

func text(item *metadata.StorageItem, key string) (s string) {
	if v := item.Get(key); v != nil && v.Unmarshal(&s) != nil {
		return ""
	}
	return s
}

func isSet(item *metadata.StorageItem, key string) (set bool) {
	v := item.Get(key)
	return v != nil && v.Unmarshal(&set) == nil && set
}

// Forget removes records that Verify has found. Where others were made from them, the whole cache goes.
func (b *Builder) Forget(ctx context.Context, records []string) error {
	for _, id := range records {
		if _, err := b.Prune(ctx, client.PruneInfo{All: true, Filter: []string{"id==" + id}}); err != nil {
			return err
		}
	}
	if !slices.ContainsFunc(records, b.still) {
		return nil
	}
	if _, err := b.Prune(ctx, client.PruneInfo{All: true}); err != nil {
		return err
	}
	if slices.ContainsFunc(records, b.still) {
		return errors.New("a build uses it: try again when it has ended")
	}
	return nil
}
