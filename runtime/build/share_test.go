package build

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/moby/buildkit/client"

	"tutti/runtime/image"
)

// copies counts the unpacked layers of a builder's store that have a file, after a collection.
func copies(t *testing.T, b *Builder, name string) int {
	t.Helper()
	if err := b.store.GarbageCollect(t.Context()); err != nil {
		t.Fatal(err)
	}
	list, err := filepath.Glob(filepath.Join(filepath.Dir(b.root), "images/snapshots/*/fs", name))
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// What a build has made lies on the disk once: as a layer of its image, and of the build cache. Either may go first.
func TestBuildSharesLayers(t *testing.T) {
	t.Parallel()
	b := openBuilder(t)
	dir := folder(t, map[string]string{"file": "file\n"})
	// A step that is run again makes another layer: one that was the same to the second would be on the disk twice, until the
	// cache goes.
	r := Request{DockerfileInline: "FROM busybox\nRUN rm -r /root && mkdir /root && echo a > /root/a && cat /proc/sys/kernel/random/uuid > /id\nCOPY file /\nRUN rm /root/a; echo c > /c\nCOPY --link file /linked\n", Context: dir, Tags: []string{"app"}}
	built := build(t, b, r)
	once := func(when string) {
		t.Helper()
		if a, c := copies(t, b, "root/a"), copies(t, b, "c"); a != 2 || c != 1 { // the second of a is its whiteout
			t.Errorf("%s there are %d and %d copies", when, a, c)
		}
	}
	once("after the build")
	check := func(i image.Image) {
		t.Helper()
		wantContent(t, b, i, "c", "c\n")
		wantContent(t, b, i, "file", "file\n")
		wantContent(t, b, i, "linked", "file\n")
		if faults, err := b.store.Verify(t.Context(), nil); err != nil || len(faults) > 0 {
			t.Errorf("faults %+v, %v", faults, err)
		}
		if faults, err := b.Verify(t.Context()); err != nil || len(faults) > 0 {
			t.Errorf("faults of the cache: %+v, %v", faults, err)
		}
	}
	check(built)
	// The cache goes: the image has its layers.
	if _, err := b.Prune(t.Context(), client.PruneInfo{All: true}); err != nil {
		t.Fatal(err)
	}
	once("without the cache")
	check(built)
	again := build(t, b, r)
	check(again)
	// The images go: the cache has the layers, and the next build takes them from there.
	for _, i := range []image.Image{again, built} {
		if _, err := b.store.Remove(t.Context(), i.ID, image.RemoveOptions{Force: true}); err != nil && !strings.Contains(err.Error(), "no such image") {
			t.Fatal(err)
		}
	}
	once("without an image")
	for step, cached := range cachedSteps(t, b, r) {
		if strings.Contains(step, "RUN") && !cached {
			t.Errorf("%s was run again", step)
		}
	}
	once("after a build from the cache")
	last, err := b.store.Get(t.Context(), "app")
	if err != nil {
		t.Fatal(err)
	}
	check(last)
	// Both go.
	if _, err := b.store.Remove(t.Context(), "app", image.RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Prune(t.Context(), client.PruneInfo{All: true}); err != nil {
		t.Fatal(err)
	}
	if left := copies(t, b, "c"); left > 0 {
		t.Errorf("%d copies are left", left)
	}
}
