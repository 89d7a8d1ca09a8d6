package image

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"

	"tutti/runtime/image/imagetest"
)

func TestImageNames(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"nginx":                      "docker.io/library/nginx:latest",
		"nginx:1.27":                 "docker.io/library/nginx:1.27",
		"user/app":                   "docker.io/user/app:latest",
		"localhost:5000/a/b:c":       "localhost:5000/a/b:c",
		"ghcr.io/a/b":                "ghcr.io/a/b:latest",
		"index.docker.io/library/it": "docker.io/library/it:latest",
		"nginx:1@sha256:0123456789012345678901234567890123456789012345678901234567890123": "docker.io/library/nginx@sha256:0123456789012345678901234567890123456789012345678901234567890123",
	} {
		got, err := Normalize(in)
		if err != nil || got != want {
			t.Errorf("Normalize(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{"", "Nginx", "a b", "../x", "nginx:", "@sha256:00"} {
		if got, err := Normalize(in); err == nil {
			t.Errorf("Normalize(%q) = %q, want an error", in, got)
		}
	}
	if got := Familiar("docker.io/library/nginx:latest"); got != "nginx:latest" {
		t.Errorf("Familiar = %q", got)
	}
}

func TestImageLoadFormats(t *testing.T) {
	t.Parallel()
	formats := map[string]func(io.Writer, ...imagetest.Image) error{"docker": imagetest.DockerArchive, "oci": imagetest.OCIArchive}
	compressions := map[string]func(t *testing.T, data []byte) []byte{
		"plain": func(_ *testing.T, data []byte) []byte { return data },
		"gzip": func(t *testing.T, data []byte) []byte {
			var b bytes.Buffer
			w := gzip.NewWriter(&b)
			_, err := w.Write(data)
			if err := errors.Join(err, w.Close()); err != nil {
				t.Fatal(err)
			}
			return b.Bytes()
		},
		"zstd": func(t *testing.T, data []byte) []byte {
			w, err := zstd.NewWriter(nil)
			if err != nil {
				t.Fatal(err)
			}
			return w.EncodeAll(data, nil)
		},
	}
	for format, write := range formats {
		for compression, compress := range compressions {
			t.Run(format+"-"+compression, func(t *testing.T) {
				t.Parallel()
				var archive bytes.Buffer
				if err := write(&archive, testImage("one", "docker.io/library/one:latest", "docker.io/library/one:v1"), testImage("two", "docker.io/me/two:latest"), testImage("three")); err != nil {
					t.Fatal(err)
				}
				s := openStore(t)
				loaded, err := s.Load(t.Context(), bytes.NewReader(compress(t, archive.Bytes())), LoadOptions{})
				if err != nil {
					t.Fatal(err)
				}
				var names [][]string
				for _, image := range loaded {
					names = append(names, image.Names)
				}
				if want := [][]string{{"one:latest", "one:v1"}, {"me/two:latest"}, nil}; !reflect.DeepEqual(names, want) {
					t.Errorf("loaded %q, want %q", names, want)
				}
				checkLayers(t, s, loaded[0], "one")
				checkLayers(t, s, loaded[2], "three")
			})
		}
	}
}

// checkLayers reads the image's files through Lower.
func checkLayers(t *testing.T, s *Store, image Image, text string) []string {
	t.Helper()
	lower, err := s.Lower(t.Context(), image)
	if err != nil {
		t.Fatal(err)
	}
	if len(lower) != 2 {
		t.Fatalf("lower = %q, want two folders", lower)
	}
	top, err := os.ReadFile(filepath.Join(lower[0], "text"))
	if err != nil || string(top) != text {
		t.Errorf("text = %q, %v; want %q", top, err, text)
	}
	if _, err := os.Stat(filepath.Join(lower[1], "base/common")); err != nil {
		t.Error(err)
	}
	return lower
}

func TestImageConfig(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	in := testImage("config", "conf")
	in.Config.Env = []string{"A=b"}
	in.Config.Volumes = map[string]struct{}{"/data": {}}
	in.Config.StopSignal = "SIGINT"
	in.Config.ExposedPorts = map[string]struct{}{"80/tcp": {}}
	in.Config.Shell = []string{"/bin/bash", "-c"}
	in.Config.OnBuild = []string{"RUN x"}
	in.Config.Healthcheck = &dockerspec.HealthcheckConfig{Test: []string{"CMD", "true"}, Interval: 3 * time.Second, StartInterval: time.Second, Retries: 2}
	image := load(t, s, in)[0]
	if !reflect.DeepEqual(image.Config, in.Config) {
		t.Errorf("config = %+v, want %+v", image.Config, in.Config)
	}
	if image.OS != "linux" || image.Created.Year() != 2024 || image.Size == 0 {
		t.Errorf("OS %q, created %v, size %d", image.OS, image.Created, image.Size)
	}
}

func TestImageGet(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	one := load(t, s, testImage("one", "one:latest", "localhost:5000/one:v1"))[0]
	for _, ref := range []string{"one", "one:latest", "docker.io/library/one", "localhost:5000/one:v1", one.ID, one.ID[7:], one.ID[7:19], "sha256:" + one.ID[7:12], "one@" + one.Digest.String()} {
		got, err := s.Get(t.Context(), ref)
		if err != nil || got.ID != one.ID {
			t.Errorf("Get(%q) = %q, %v", ref, got.ID, err)
		}
	}
	for _, ref := range []string{"two", "one:v1", "ffff", "sha256:" + one.ID[8:20]} {
		if _, err := s.Get(t.Context(), ref); !errors.Is(err, ErrNotFound) {
			t.Errorf("Get(%q): %v, want ErrNotFound", ref, err)
		}
	}
	if _, err := s.Get(t.Context(), "UPPER"); err == nil {
		t.Error("an invalid name was accepted")
	}
}

func TestImageMovedNameLeavesDanglingImage(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	old := load(t, s, testImage("old", "app"))[0]
	before := checkLayers(t, s, old, "old")
	load(t, s, testImage("new", "app"))
	if err := s.GarbageCollect(t.Context()); err != nil {
		t.Fatal(err)
	}
	dangling, err := s.Get(t.Context(), old.ID)
	if err != nil || len(dangling.Names) != 0 {
		t.Fatalf("old image: %q, %v; want it without names", dangling.Names, err)
	}
	if after := checkLayers(t, s, dangling, "old"); !reflect.DeepEqual(before, after) {
		t.Errorf("layers moved from %q to %q", before, after)
	}
	// A name makes it a normal image again, with one record.
	if err := s.Tag(t.Context(), old.ID, "app:old"); err != nil {
		t.Fatal(err)
	}
	removed, err := s.Remove(t.Context(), "app:old", RemoveOptions{})
	if want := []Removal{{Untagged: "app:old"}, {Deleted: old.ID}}; err != nil || !reflect.DeepEqual(removed, want) {
		t.Errorf("removed %v, %v; want %v", removed, err, want)
	}
}

func TestImageRemove(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	images := load(t, s, testImage("one", "one", "one:v1"), testImage("two", "two"))
	one, two := images[0], images[1]
	lower := checkLayers(t, s, one, "one")
	if _, err := s.Remove(t.Context(), one.ID, RemoveOptions{}); !errors.Is(err, ErrInUse) {
		t.Errorf("remove by ID with two names: %v, want ErrInUse", err)
	}
	steps := []struct {
		ref  string
		want []Removal
	}{
		{"one", []Removal{{Untagged: "one:latest"}}},
		{"one:v1", []Removal{{Untagged: "one:v1"}, {Deleted: one.ID}}},
	}
	for _, step := range steps {
		got, err := s.Remove(t.Context(), step.ref, RemoveOptions{})
		if err != nil || !reflect.DeepEqual(got, step.want) {
			t.Errorf("Remove(%q) = %v, %v; want %v", step.ref, got, err, step.want)
		}
	}
	if _, err := s.Remove(t.Context(), "one:v1", RemoveOptions{}); !errors.Is(err, ErrNotFound) {
		t.Errorf("second removal: %v, want ErrNotFound", err)
	}
	if err := s.GarbageCollect(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(lower[0]); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the removed image's own layer: %v, want it gone", err)
	}
	checkLayers(t, s, two, "two") // shares the lower layer
}

func TestImageInUseIsKept(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	image := load(t, s, testImage("used", "used"))[0]
	inUse := func(id string) (User, bool) { return User{ID: "c0ffee"}, id == image.ID }
	if _, err := s.Remove(t.Context(), "used", RemoveOptions{InUse: inUse}); !errors.Is(err, ErrInUse) {
		t.Fatalf("remove: %v, want ErrInUse", err)
	}
	got, err := s.Remove(t.Context(), "used", RemoveOptions{InUse: inUse, Force: true})
	if want := []Removal{{Untagged: "used:latest"}}; err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("forced removal = %v, %v; want %v", got, err, want)
	}
	if err := s.GarbageCollect(t.Context()); err != nil {
		t.Fatal(err)
	}
	image, err = s.Get(t.Context(), image.ID)
	if err != nil {
		t.Fatal(err)
	}
	checkLayers(t, s, image, "used")
}

func TestImageStoreSurvivesReopen(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	s := openStoreAt(t, root)
	image := load(t, s, testImage("kept", "kept"))[0]
	if _, err := Open(t.Context(), root); !errors.Is(err, ErrLocked) {
		t.Errorf("second open: %v, want ErrLocked", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStoreAt(t, root)
	if err := s.GarbageCollect(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := s.Get(t.Context(), "kept")
	if err != nil || got.ID != image.ID {
		t.Fatalf("after reopening: %v, %v", got.ID, err)
	}
	checkLayers(t, s, got, "kept")
}

// An image whose layers were never unpacked, as after a kill, is unpacked by Lower.
func TestImageLowerUnpacksWhatIsMissing(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	image := load(t, s, testImage("lost", "lost"))[0]
	for key := image.chainID(); key != ""; {
		info, err := s.snapshots.Stat(scope(t.Context()), key)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.snapshots.Remove(scope(t.Context()), key); err != nil {
			t.Fatal(err)
		}
		key = info.Parent
	}
	checkLayers(t, s, image, "lost")
	if err := s.GarbageCollect(t.Context()); err != nil {
		t.Fatal(err)
	}
	checkLayers(t, s, image, "lost")
}

func TestImageWithoutLayers(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	image := load(t, s, imagetest.Image{Names: []string{"empty"}})[0]
	lower, err := s.Lower(t.Context(), image)
	if err != nil || len(lower) != 1 {
		t.Fatalf("lower = %q, %v; want one empty folder", lower, err)
	}
}

func TestImageLoadRefusesGarbage(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	whole := dockerArchive(t, testImage("x", "x")).Bytes()
	for name, data := range map[string][]byte{"empty": nil, "text": []byte("hello"), "truncated": whole[:len(whole)/2]} {
		if images, err := s.Load(t.Context(), bytes.NewReader(data), LoadOptions{}); err == nil {
			t.Errorf("%s: loaded %v, want an error", name, images)
		}
	}
	evil := testImage("x", "Not A Name")
	if _, err := s.Load(t.Context(), dockerArchive(t, evil), LoadOptions{}); err == nil {
		t.Error("an invalid name was accepted")
	}
	list, err := s.List(t.Context())
	if err != nil || len(list) != 0 {
		t.Errorf("store has %v, %v; want nothing", list, err)
	}
}

func BenchmarkImageOpen(b *testing.B) {
	root := b.TempDir()
	s := openStoreAt(b, root)
	load(b, s, testImage("one", "one"), testImage("two", "two"))
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		s, err := Open(b.Context(), root)
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkImageGetLower(b *testing.B) {
	s := openStore(b)
	load(b, s, testImage("one", "one"))
	for b.Loop() {
		image, err := s.Get(b.Context(), "one")
		if err != nil {
			b.Fatal(err)
		}
		if _, err := s.Lower(b.Context(), image); err != nil {
			b.Fatal(err)
		}
	}
}
