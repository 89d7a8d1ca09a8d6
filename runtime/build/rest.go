package build

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/moby/buildkit/cache"
	"github.com/moby/buildkit/cache/contenthash"
	"github.com/moby/buildkit/cache/metadata"
)

// restTime is how long nobody has built before what BuildKit keeps in memory for the next build is let go of: a build that
// comes sooner, such as the next service's, finds it.
const restTime = 2 * time.Second

// rester lets go of memory when builds have ended and none follows.
type rester struct {
	records *metadata.Store
	builds  *sync.RWMutex // held for reading by each build
	rested  func()        // is told afterwards; may be nil
	ended   chan struct{} // holds a token when a build has ended
	cancel  context.CancelFunc
	done    sync.WaitGroup
}

func startRester(ctx context.Context, records *metadata.Store, builds *sync.RWMutex, rested func()) *rester {
	ctx, cancel := context.WithCancel(ctx)
	r := &rester{records: records, builds: builds, rested: rested, ended: make(chan struct{}, 1), cancel: cancel}
	r.done.Go(func() { r.run(ctx) })
	return r
}

// stop ends the goroutine and lets go of what is left.
func (r *rester) stop() error {
	r.cancel()
	r.done.Wait()
	return forgetTrees(r.records)
}

// buildEnded is to be called when a build has ended.
func (r *rester) buildEnded() {
	select {
	case r.ended <- struct{}{}:
	default:
	}
}

func (r *rester) run(ctx context.Context) {
	timer := time.NewTimer(restTime)
	timer.Stop()
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.ended:
			timer.Reset(restTime)
		case <-timer.C:
			if err := r.rest(); err != nil {
				slog.WarnContext(ctx, "cannot let go of the build cache's memory", "error", err)
			}
		}
	}
}

// rest lets go of memory unless a build runs: its end asks again.
func (r *rester) rest() error {
	if !r.builds.TryLock() {
		return nil
	}
	err := forgetTrees(r.records)
	r.builds.Unlock()
	if r.rested != nil {
		r.rested()
	}
	return err
}

// forgetTrees has BuildKit let go of the trees of content digests that it keeps of the last 20 layers it has looked into, a
// kilobyte for each file: in a variable of the process (cache/contenthash), and for good. They are in the cache's records,
// too, from which they are read again when a step copies from a layer.
func forgetTrees(records *metadata.Store) error {
	items, err := records.All()
	if err != nil {
		return fmt.Errorf("read the build cache: %w", err)
	}
	for _, item := range items {
		contenthash.ClearCacheContext(recordID{id: item.ID()})
	}
	return nil
}

// recordID is a record of which nothing but the ID is asked.
type recordID struct {
	cache.RefMetadata
	id string
}

func (r recordID) ID() string { return r.id }
