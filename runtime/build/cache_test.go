package build

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/moby/buildkit/client"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// The cache is accounted for and pruned: what images have stays, what only the cache has goes, and builds work after it.
func TestBuildCacheUsageAndPrune(t *testing.T) {
	t.Parallel()
	b := openBuilder(t)
	r := Request{DockerfileInline: "FROM busybox\nRUN head -c 300000 /dev/zero > /a\nRUN echo b > /b\n", Context: t.TempDir(), Tags: []string{"app"}}
	build(t, b, r)
	list, err := b.Usage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var own, shared int64
	for _, u := range list {
		if u.Shared {
			shared += u.Size
		} else {
			own += u.Size
		}
	}
	if own > 200_000 || shared < 1_300_000 { // what steps have made is the image's, too
		for _, u := range list {
			t.Logf("%+v", *u)
		}
		t.Errorf("the cache has %d bytes of its own, %d shared with images", own, shared)
	}
	if faults, err := b.Verify(t.Context()); err != nil || len(faults) > 0 {
		t.Errorf("a whole cache: %v, %v", faults, err)
	}
	removed, err := b.Prune(t.Context(), client.PruneInfo{All: true})
	if err != nil {
		t.Fatal(err)
	}
	var freed int64
	for _, u := range removed {
		if !u.Shared {
			freed += u.Size
		}
	}
	if freed != own {
		t.Errorf("freed %d bytes of %d", freed, own)
	}
	if list, err := b.Usage(t.Context()); err != nil || len(list) > 0 {
		t.Errorf("after the prune: %v, %v", list, err)
	}
	again := build(t, b, r)
	wantContent(t, b, again, "b", "b\n")
}

// A record whose layer is gone is found, and forgotten; the build then makes it anew.
func TestBuildCacheVerify(t *testing.T) {
	t.Parallel()
	b := openBuilder(t)
	r := Request{DockerfileInline: "FROM busybox\nRUN cat /proc/uptime > /a\nRUN echo b > /b\n", Context: t.TempDir(), Tags: []string{"app"}}
	build(t, b, r)
	ctx := namespaces.WithNamespace(t.Context(), b.backend.Namespace)
	list, err := b.Usage(t.Context(), "type==regular")
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(list, func(u *client.UsageInfo) bool { return strings.Contains(u.Description, "echo b") })
	if i < 0 {
		t.Fatalf("no record of the step among %v", list)
	}
	if err := b.backend.Leases.Delete(ctx, leases.Lease{ID: list[i].ID}); err != nil {
		t.Fatal(err)
	}
	faults, err := b.Verify(t.Context())
	if err != nil || len(faults) != 1 || faults[0].Record != list[i].ID {
		t.Fatalf("found %v, %v; want record %s", faults, err, list[i].ID)
	}
	if err := b.Forget(t.Context(), []string{faults[0].Record}); err != nil {
		t.Fatal(err)
	}
	if faults, err := b.Verify(t.Context()); err != nil || len(faults) > 0 {
		t.Errorf("after it is forgotten: %v, %v", faults, err)
	}
	wantContent(t, b, build(t, b, r), "b", "b\n")
}

// Layers of an image are lost, and forgotten: the same build makes the image whole again, whatever the cache says.
func TestBuildMakesLostLayersAnew(t *testing.T) {
	t.Parallel()
	b := openBuilder(t)
	r := Request{DockerfileInline: "FROM busybox\nRUN cat /proc/uptime > /when; echo a > /a\n", Context: t.TempDir(), Tags: []string{"app"}}
	built := build(t, b, r)
	ctx := namespaces.WithNamespace(t.Context(), b.backend.Namespace)
	data, err := content.ReadBlob(ctx, b.backend.Content, ocispec.Descriptor{Digest: built.Digest})
	var manifest ocispec.Manifest
	if err := errors.Join(err, json.Unmarshal(data, &manifest)); err != nil {
		t.Fatal(err)
	}
	if err := b.backend.Content.Delete(ctx, manifest.Layers[len(manifest.Layers)-1].Digest); err != nil {
		t.Fatal(err)
	}
	if _, err := b.backend.GarbageCollect(ctx); err != nil {
		t.Fatal(err)
	}
	if faults, err := b.store.Verify(t.Context(), nil); err != nil || len(faults) != 1 {
		t.Errorf("a lost layer: %v, %v", faults, err)
	}
	lost, err := b.Verify(t.Context())
	if err != nil || len(lost) == 0 {
		t.Fatalf("the cache knows nothing of it: %v, %v", lost, err)
	}
	for _, f := range lost {
		if err := b.Forget(t.Context(), []string{f.Record}); err != nil {
			t.Fatal(err)
		}
	}
	wantContent(t, b, build(t, b, r), "a", "a\n")
	faults, err := b.store.Verify(t.Context(), nil)
	if err != nil || len(faults) != 1 || !strings.Contains(faults[0].Object, "dangling") { // the image that had the name before
		t.Errorf("after the build: %v, %v", faults, err)
	}
}
