package build

import (
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/moby/buildkit/cache/contenthash"
)

// After builds nothing holds the trees of content digests any more, and the next build finds the cache all the same.
func TestRestLetsGoOfMemory(t *testing.T) {
	t.Parallel()
	b := openBuilder(t)
	rested := make(chan struct{}, 1)
	b.rester.rested = func() { rested <- struct{}{} } // nobody has built yet
	r := Request{Context: folder(t, map[string]string{"a/b": "1", "c": "2"}), DockerfileInline: "FROM busybox\nCOPY . /data\nRUN cat /data/c", Tags: []string{"t"}}
	end := b.building() // no rest before the trees are seen
	build(t, b, r)
	trees := watchTrees(t, b)
	end()
	<-rested
	for freed, began := 0, time.Now(); freed < trees.watched; {
		runtime.GC()
		select {
		case <-trees.freed:
			freed++
		case <-time.After(10 * time.Millisecond):
			if time.Since(began) > time.Minute {
				t.Fatalf("%d of %d trees are free", freed, trees.watched)
			}
		}
	}
	if cached := cachedSteps(t, b, r); !cached["[2/3] COPY . /data"] || !cached["[3/3] RUN cat /data/c"] {
		t.Errorf("cached: %v", cached)
	}
}

// watchedTrees are trees of content digests whose memory is watched.
type watchedTrees struct {
	watched int
	freed   chan struct{} // gets a value for each
}

func watchTrees(t *testing.T, b *Builder) watchedTrees {
	t.Helper()
	items, err := b.records.All()
	if err != nil {
		t.Fatal(err)
	}
	w, seen := watchedTrees{freed: make(chan struct{}, len(items))}, map[contenthash.CacheContext]bool{}
	for _, item := range items {
		ref, err := b.worker.CacheMgr.Get(t.Context(), item.ID(), nil)
		if err != nil {
			continue // mutable, or no layer
		}
		tree, err := contenthash.GetCacheContext(t.Context(), ref)
		if err := errors.Join(err, ref.Release(t.Context())); err != nil {
			t.Fatal(err)
		}
		if seen[tree] {
			continue // a layer has two records while its copy can still be changed
		}
		seen[tree] = true
		runtime.SetFinalizer(tree, func(contenthash.CacheContext) { w.freed <- struct{}{} })
		w.watched++
	}
	if w.watched < 2 {
		t.Fatalf("%d trees", w.watched)
	}
	return w
}
