package build

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/worker/base"
)

// gcInterval is the shortest time between two collections, and before the first.
const gcInterval = time.Minute

// collector prunes the build cache in the background, after builds.
type collector struct {
	worker *base.Worker
	leases *buildLeases
	forget func() // is told that the cache has lost something
	cancel context.CancelFunc
	wanted chan struct{}
	done   sync.WaitGroup

	builds sync.RWMutex // held for reading by each build
}

func startCollector(ctx context.Context, w *base.Worker, held *buildLeases, forget func()) *collector {
	ctx, cancel := context.WithCancel(ctx)
	c := &collector{worker: w, leases: held, forget: forget, cancel: cancel, wanted: make(chan struct{}, 1)}
	c.done.Go(func() { c.run(ctx) })
	return c
}

// building marks the begin of a build, the function that it returns the end, after
// which a collection is due.
func (c *collector) building() (end func()) {
	c.builds.RLock()
	return func() {
		c.builds.RUnlock()
		select {
		case c.wanted <- struct{}{}:
		default:
		}
	}
}

func (c *collector) stop() {
	c.cancel()
	c.done.Wait()
}

func (c *collector) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(gcInterval):
		}
		select {
		case <-ctx.Done():
			return
		case <-c.wanted:
		}
		if err := c.collect(ctx); err != nil && ctx.Err() == nil {
			slog.WarnContext(ctx, "cannot prune the build cache", "error", err)
		}
	}
}

// collect lets go of what finished builds have used and prunes the cache. While a
// build runs there is nothing to do: its end asks again.
func (c *collector) collect(ctx context.Context) error {
	if !c.builds.TryLock() {
		return nil
	}
	c.builds.Unlock()
	if err := c.letGo(ctx); err != nil {
		return err
	}
	removed, err := prune(ctx, c.worker)
	if removed > 0 {
		c.forget()
	}
	return err
}

// letGo lets go of what finished builds have used, unless one runs.
func (c *collector) letGo(ctx context.Context) error {
	if !c.builds.TryLock() {
		return nil
	}
	defer c.builds.Unlock()
	return c.leases.reset(ctx)
}

// prune applies the cache's limits, and returns how many records went.
func prune(ctx context.Context, w *base.Worker) (records int, err error) {
	removed := make(chan client.UsageInfo)
	var drained sync.WaitGroup
	drained.Go(func() {
		for u := range removed {
			records++
			slog.DebugContext(ctx, "build cache record removed", "id", u.ID, "bytes", u.Size)
		}
	})
	err = w.Prune(ctx, removed, cacheLimits()...)
	close(removed)
	drained.Wait()
	return records, err
}

// cacheLimits are docker's: files that are easy to get again at most two days and
// half a gigabyte, everything unused at most two months and ten gigabytes.
func cacheLimits() []client.PruneInfo {
	const keep = 10 << 30
	return []client.PruneInfo{
		{Filter: []string{"type==source.local,type==exec.cachemount,type==source.git.checkout"}, KeepDuration: 48 * time.Hour, MaxUsedSpace: 512 << 20},
		{KeepDuration: 60 * 24 * time.Hour, MaxUsedSpace: keep},
		{MaxUsedSpace: keep},
		{All: true, MaxUsedSpace: keep},
	}
}
