package image

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/leases"
	"github.com/opencontainers/go-digest"
	bolt "go.etcd.io/bbolt"

	"tutti/runtime/image/imagetest"
)

// verify returns the faults, sorted by kind.
func verify(t *testing.T, s *Store, needed func(string) bool) []Fault {
	t.Helper()
	faults, err := s.Verify(t.Context(), needed)
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(faults, func(a, b Fault) int { return strings.Compare(a.Kind, b.Kind) })
	return faults
}

func kinds(faults []Fault) (all []string) {
	for _, f := range faults {
		all = append(all, f.Kind)
	}
	return all
}

// repairAll repairs until nothing is left to repair.
func repairAll(t *testing.T, s *Store, needed func(string) bool) {
	t.Helper()
	for range 4 {
		repaired := false
		for _, f := range verify(t, s, needed) {
			if f.Repair == nil {
				continue
			}
			repaired = true
			if err := f.Repair(t.Context()); err != nil {
				t.Fatalf("repair %s %s: %v", f.Kind, f.Object, err)
			}
		}
		if !repaired {
			return
		}
	}
	t.Errorf("not repaired: %+v", verify(t, s, needed))
}

// Every kind of damage is found, said, and repaired; a whole store has none.
func TestImageVerify(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		damage func(t *testing.T, s *Store, image Image)
		kinds  []string
		text   string // in the first problem
		lost   bool   // the image has to be loaded again
	}{
		{"nothing", func(*testing.T, *Store, Image) {}, nil, "", false},
		{"a layer's content changed", func(t *testing.T, s *Store, image Image) { damageBlob(t, s, layerBlob(t, s, image), "garbage") }, []string{FaultBlob}, "not what its digest says", true},
		{"a layer's content cut", func(t *testing.T, s *Store, image Image) { cutBlob(t, s, layerBlob(t, s, image)) }, []string{FaultBlob}, "content has 10 bytes of", true},
		{"the configuration removed", func(t *testing.T, s *Store, image Image) { mustRemove(t, s.blobPath(digest.Digest(image.ID))) }, []string{FaultBlob, FaultImage}, "content is missing", true},
		{"the manifest changed", func(t *testing.T, s *Store, image Image) { damageBlob(t, s, image.manifest.Digest, "garbage") }, []string{FaultBlob, FaultImage}, "not what its digest says", true},
		{"unknown content", func(t *testing.T, s *Store, _ Image) { unknownBlob(t, s) }, []string{FaultUnknownBlob}, "nobody knows", false},
		{"an unpacked layer removed", func(t *testing.T, s *Store, image Image) { mustRemove(t, filepath.Dir(lowerOf(t, s, image)[0])) }, []string{FaultLayer}, "is missing: app:latest", false},
		{"a lower layer removed", func(t *testing.T, s *Store, image Image) { mustRemove(t, filepath.Dir(lowerOf(t, s, image)[1])) }, []string{FaultLayer}, "is missing: app:latest", false},
		{"an unknown folder", func(t *testing.T, s *Store, _ Image) { unknownFolder(t, s) }, []string{FaultUnknown}, "folder of a layer", false},
		{"a layer without a record", func(t *testing.T, s *Store, _ Image) {
			if _, err := s.layers.Prepare(t.Context(), "tutti/99/lost", ""); err != nil {
				t.Fatal(err)
			}
			s.opened = time.Now() // as if an earlier process had
		}, []string{FaultUnknown}, "layer that nobody knows", false},
		{"a record without its layer", func(t *testing.T, s *Store, image Image) { forgetLayer(t, s, image) }, []string{FaultLayer, FaultUnknown}, "not known to the folders' database: app:latest", false},
		{"an expired lease", func(t *testing.T, s *Store, _ Image) {
			if _, err := s.leases.Create(scope(t.Context()), leases.WithID("old"), leases.WithExpiration(-time.Hour)); err != nil {
				t.Fatal(err)
			}
		}, []string{FaultLease}, "has expired", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := openStore(t)
			image := load(t, s, testImage("app", "app"))[0]
			checkLayers(t, s, image, "app")
			c.damage(t, s, image)
			s.catalog.forget()
			faults := verify(t, s, nil)
			if !slices.Equal(kinds(faults), c.kinds) {
				t.Fatalf("found %+v, want the kinds %q", faults, c.kinds)
			}
			if len(faults) > 0 && !strings.Contains(faults[0].Problem, c.text) {
				t.Errorf("problem %q, want %q in it", faults[0].Problem, c.text)
			}
			repairAll(t, s, nil)
			if c.lost {
				if got, err := s.Get(t.Context(), "app"); !errors.Is(err, ErrNotFound) {
					t.Errorf("a name is left of a broken image: %+v, %v", got, err)
				}
				image = load(t, s, testImage("app", "app"))[0]
			}
			checkLayers(t, s, image, "app")
			if faults := verify(t, s, nil); len(faults) > 0 {
				t.Errorf("after the repair: %+v", faults)
			}
		})
	}
}

// Layers that a container has are not lost with the configuration that they were found by.
func TestImageVerifyKeepsLayersInUse(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	image := load(t, s, testImage("app", "app"))[0]
	lower := checkLayers(t, s, image, "app")
	needed := func(id string) bool { return id == image.ID }
	damageBlob(t, s, digest.Digest(image.ID), "garbage")
	repairAll(t, s, needed)
	if err := s.GarbageCollect(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, dir := range lower {
		if _, err := os.Stat(dir); err != nil {
			t.Errorf("a layer in use: %v", err)
		}
	}
	load(t, s, testImage("app", "app"))
	repairAll(t, s, needed) // the layers need no hold of their own any more
	if list, err := s.leases.List(scope(t.Context())); err != nil || len(list) > 0 {
		t.Errorf("leases are left: %v, %v", list, err)
	}
	checkLayers(t, s, image, "app")
}

// What was lost of a pulled image, `pull` brings back, though it is unpacked.
func TestImagePullCompletes(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	name := imagetest.StartRegistry(t, false) + "/app:v1"
	imagetest.Push(t, name, testImage("app"))
	image, err := s.Pull(t.Context(), name, PullOptions{})
	if err != nil {
		t.Fatal(err)
	}
	damageBlob(t, s, layerBlob(t, s, image), "garbage")
	faults := verify(t, s, func(string) bool { return true })
	if !slices.Equal(kinds(faults), []string{FaultBlob}) || faults[0].Hint != "tutti image pull "+name {
		t.Fatalf("found %+v", faults)
	}
	if err := faults[0].Repair(t.Context()); err != nil {
		t.Fatal(err)
	}
	if faults := verify(t, s, func(string) bool { return true }); len(faults) != 1 || faults[0].Repair != nil || !strings.Contains(faults[0].Problem, "push and save fail") {
		t.Fatalf("before it is pulled again: %+v", faults)
	}
	if _, err := s.Pull(t.Context(), name, PullOptions{}); err != nil {
		t.Fatal(err)
	}
	if faults := verify(t, s, nil); len(faults) > 0 {
		t.Errorf("after it is pulled again: %+v", faults)
	}
}

// What a process that died has left is gone when the store is opened again.
func TestImageOpenAfterCrash(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	s := openStoreAt(t, root)
	image := load(t, s, testImage("app", "app"))[0]
	checkLayers(t, s, image, "app")
	unknownBlob(t, s)
	unknownFolder(t, s)
	forgetLayer(t, s, image)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, openFile), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s = openStoreAt(t, root)
	if !s.Unclean() {
		t.Error("the store was not seen to be left open")
	}
	if err := s.GarbageCollect(t.Context()); err != nil {
		t.Fatal(err)
	}
	checkLayers(t, s, image, "app")
	if faults := verify(t, s, nil); len(faults) > 0 || s.Unclean() {
		t.Errorf("after a crash: %+v", faults)
	}
}

func layerBlob(t *testing.T, s *Store, image Image) digest.Digest {
	t.Helper()
	blobs, err := s.blobsOf(t.Context(), image)
	if err != nil {
		t.Fatal(err)
	}
	return blobs[len(blobs)-1]
}

// damageBlob changes a blob, but not its size.
func damageBlob(t *testing.T, s *Store, d digest.Digest, text string) {
	t.Helper()
	path := s.blobPath(d)
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteAt([]byte(text), 0)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

func cutBlob(t *testing.T, s *Store, d digest.Digest) {
	t.Helper()
	if err := os.Truncate(s.blobPath(d), 10); err != nil {
		t.Fatal(err)
	}
}

func mustRemove(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Lstat(path); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}

func lowerOf(t *testing.T, s *Store, image Image) []string {
	t.Helper()
	lower, err := s.Lower(t.Context(), image)
	if err != nil {
		t.Fatal(err)
	}
	return lower
}

// unknownBlob puts content into the store without a record, as a process does that dies between the two.
func unknownBlob(t *testing.T, s *Store) {
	t.Helper()
	data := []byte("nobody knows me")
	d := digest.FromBytes(data)
	if err := os.WriteFile(s.blobPath(d), data, 0o444); err != nil {
		t.Fatal(err)
	}
	s.opened = time.Now().Add(time.Second)
	if _, err := s.blobs.Info(t.Context(), d); err != nil {
		t.Fatal(err)
	}
}

func unknownFolder(t *testing.T, s *Store) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(s.root, "snapshots", "4711", "fs"), 0o700); err != nil {
		t.Fatal(err)
	}
	s.opened = time.Now().Add(time.Second)
}

// forgetLayer gives the topmost layer another name in the folders' database, as a commit does that is cut off before the
// other database knows of it.
func forgetLayer(t *testing.T, s *Store, image Image) {
	t.Helper()
	err := s.database.Update(func(tx *bolt.Tx) error {
		return bucket(tx, "snapshots", snapshotterName, image.chainID()).Put([]byte("name"), []byte("tutti/98/gone"))
	})
	if err != nil {
		t.Fatal(err)
	}
	s.opened = time.Now().Add(time.Second)
}
