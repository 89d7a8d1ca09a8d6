package build

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/moby/buildkit/client"

	"tutti/runtime/image"
)

// inodes counts the files of a name that lie in a builder's store, after a collection: how many layers have it, and how many
// times it is on the disk.
func inodes(t *testing.T, b *Builder, name string) (layers, files int) {
	t.Helper()
	if err := b.store.GarbageCollect(t.Context()); err != nil {
		t.Fatal(err)
	}
	list, err := filepath.Glob(filepath.Join(filepath.Dir(b.root), "images/snapshots/*/fs", name))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[uint64]bool{}
	for _, path := range list {
		st, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		seen[st.Sys().(*syscall.Stat_t).Ino] = true
	}
	return len(list), len(seen)
}

// sound checks the store and the cache, each layer file by file.
func sound(t *testing.T, b *Builder) {
	t.Helper()
	if faults, looked, err := b.store.VerifyFiles(t.Context(), nil); err != nil || len(faults) > 0 || looked == 0 {
		t.Errorf("faults of %d layers: %+v, %v", looked, faults, err)
	}
	if faults, err := b.store.Verify(t.Context(), nil); err != nil || len(faults) > 0 {
		t.Errorf("faults %+v, %v", faults, err)
	}
	if faults, err := b.Verify(t.Context()); err != nil || len(faults) > 0 {
		t.Errorf("faults of the cache: %+v, %v", faults, err)
	}
}

// The layers of COPY --link, and those on top of them, stand on something else in the cache than in the image. Their files
// are on the disk once all the same, and the image is what it would be if it were unpacked.
func TestBuildLinksLayers(t *testing.T) {
	t.Parallel()
	b := openBuilder(t)
	dir := folder(t, map[string]string{"big/file": "file\n", "big/gone": "gone\n", "big/sub/old": "old\n", "other": "other\n"})
	r := Request{DockerfileInline: `FROM busybox
RUN mkdir -m 700 /opt && cat /proc/sys/kernel/random/uuid > /id
COPY --link --chown=5:6 big /opt/big
RUN ln /opt/big/file /opt/hard && chmod 4711 /opt/big && rm -r /opt/big/gone /opt/big/sub && mkdir /opt/big/sub && echo new > /opt/big/sub/new
COPY --link other /etc/other
`, Context: dir, Tags: []string{"app"}}
	built := build(t, b, r)
	once := func(when string) {
		t.Helper()
		for _, name := range []string{"opt/big/file", "opt/big/sub/old", "opt/big/sub/new", "etc/other"} {
			want := 1
			if name == "opt/big/file" { // the step copies it up, for the other name
				want = 2
			}
			if _, files := inodes(t, b, name); files != want {
				t.Errorf("%s %s is on the disk %d times", when, name, files)
			}
		}
		sound(t, b)
	}
	once("after the build")
	if layers, _ := inodes(t, b, "etc/other"); layers != 2 {
		t.Errorf("%d layers have what was linked", layers)
	}
	shared, err := b.Usage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range shared {
		if u.RecordType == client.UsageRecordTypeRegular && u.Size > 0 && !u.Shared && len(u.Parents) < 2 {
			t.Errorf("the cache says that nobody else has %+v", u)
		}
	}
	if _, err := b.Prune(t.Context(), client.PruneInfo{All: true}); err != nil {
		t.Fatal(err)
	}
	once("without the cache")
	built = build(t, b, r) // the cache is gone, and makes layers of its own
	sound(t, b)
	if _, err := b.store.Remove(t.Context(), "app", image.RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	if again := build(t, b, r); again.ID != built.ID {
		t.Errorf("%s was built, not %s", again.ID, built.ID)
	}
	sound(t, b)
}

// What a build makes on top of layers that were there before under the names of an image alone is on the disk once.
func TestBuildLinksOnOlderLayers(t *testing.T) {
	t.Parallel()
	b := openBuilder(t)
	dir := folder(t, map[string]string{"file": "file\n"})
	below := Request{DockerfileInline: "FROM busybox\nCOPY file /\n", Context: dir, Tags: []string{"older"}}
	older := build(t, b, below)
	if _, err := b.Prune(t.Context(), client.PruneInfo{All: true}); err != nil {
		t.Fatal(err)
	}
	above := Request{
		DockerfileInline: below.DockerfileInline + "RUN rm /file && mkdir /low && cat /proc/sys/kernel/random/uuid > /low/id\n",
		Context:          dir, Tags: []string{"newer"},
	}
	newer := build(t, b, above)
	if len(newer.Layers) != len(older.Layers)+1 || newer.Layers[len(older.Layers)-1] != older.Layers[len(older.Layers)-1] {
		t.Fatalf("the layers are others: %v and %v: the test proves nothing", older.Layers, newer.Layers)
	}
	if layers, files := inodes(t, b, "low/id"); layers != 2 || files != 1 {
		t.Errorf("%d layers have it, and it is on the disk %d times", layers, files)
	}
	sound(t, b)
}
