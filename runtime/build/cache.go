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
)

// Usage lists the records of the build cache, sizes in bytes. filter is in BuildKit's language, "type==regular".
func (b *Builder) Usage(ctx context.Context, filter ...string) ([]*client.UsageInfo, error) {
	list, err := b.conn.client.DiskUsage(ctx, client.WithFilter(filter))
	if err != nil {
		return nil, fmt.Errorf("usage of the build cache: %w", err)
	}
	return list, nil
}

// Prune removes records of the build cache that no build needs, and returns them. Without All, those that images have, too,
// stay. While a build runs, everything that builds have used since the last collection stays.
func (b *Builder) Prune(ctx context.Context, what client.PruneInfo) ([]client.UsageInfo, error) {
	if err := b.gc.letGo(ctx); err != nil {
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
	err := b.conn.client.Prune(ctx, removed, options...)
	close(removed)
	drained.Wait()
	if err != nil {
		return all, fmt.Errorf("prune the build cache: %w", err)
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
	keyBlobOnly = "cache.blobonly"
	keyDeleted  = "cache.deleted"
	keyMutable  = "cache.equalMutable" // another record has the layer, and holds it
)

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
		if isSet(item, keyDeleted) {
			continue
		}
		problem := ""
		switch snapshot := text(item, keySnapshot); {
		case snapshot == "": // not a record of the cache manager's
			continue
		case text(item, keyMutable) != "":
			continue
		case !held[item.ID()]:
			problem = "nothing holds its layer"
		case !isSet(item, keyBlobOnly):
			_, err := b.backend.Snapshotter.Stat(ctx, snapshot)
			if err == nil {
				continue
			}
			if !errdefs.IsNotFound(err) {
				return nil, fmt.Errorf("look up layer %s: %w", snapshot, err)
			}
			problem = "its layer " + snapshot + " is missing"
		}
		if problem != "" && b.still(item.ID()) {
			faults = append(faults, Fault{item.ID(), problem})
		}
	}
	return faults, nil
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

// Forget removes records that Verify has found, and those made from them.
func (b *Builder) Forget(ctx context.Context, records []string) error {
	var errs []error
	for _, id := range records {
		if _, err := b.Prune(ctx, client.PruneInfo{All: true, Filter: []string{"id==" + id}}); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
