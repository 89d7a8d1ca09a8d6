package build

import (
	"bytes"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moby/buildkit/client"

	"tutti/runtime"
	"tutti/runtime/image"
	"tutti/runtime/image/imagetest"
)

// TestMain checks that the tests leave nothing mounted. BuildKit mounts in TMPDIR.
func TestMain(m *testing.M) {
	if root := os.Getenv(childRoot); root != "" {
		buildInChild(root)
		return
	}
	dir, err := os.MkdirTemp("", "TestBuild")
	if err != nil {
		panic(err)
	}
	if err := os.Setenv("TMPDIR", dir); err != nil {
		panic(err)
	}
	code := m.Run()
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || strings.Contains(string(table), dir) {
		_, _ = os.Stderr.WriteString("mounts are left behind:\n" + string(table))
		code = 1
	}
	if err := os.RemoveAll(dir); err != nil {
		code = 1
	}
	os.Exit(code)
}

// openBuilder opens a builder and a store with the image "busybox" in a fresh folder.
func openBuilder(t testing.TB) *Builder {
	t.Helper()
	root := t.TempDir()
	store, err := image.Open(t.Context(), filepath.Join(root, "images"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	base, err := imagetest.Busybox("busybox:latest")
	if err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	if err := imagetest.DockerArchive(&archive, base); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Load(t.Context(), &archive, image.LoadOptions{}); err != nil {
		t.Fatal(err)
	}
	b, err := New(t.Context(), Config{Root: filepath.Join(root, "build"), Store: store, Runtime: openRuntime(t, root)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// openRuntime opens a runtime with a cgroup parent of its own and checks at the end
// that no container is left.
func openRuntime(t testing.TB, root string) *runtime.Runtime {
	t.Helper()
	parent := "/tutti-test-" + strings.ToLower(rand.Text()[:10])
	r, err := runtime.New(runtime.Config{Dir: filepath.Join(root, "containers"), CgroupParent: parent, Reaper: runtime.NewLocalReaper()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		orphans, err := r.Orphans(nil)
		if err != nil || len(orphans) > 0 {
			t.Errorf("containers left behind: %q, %v", orphans, err)
		}
		if err := errors.Join(r.RemoveParent(), r.Close()); err != nil {
			t.Error(err)
		}
	})
	return r
}

// folder writes files, by relative path, into a fresh folder.
func folder(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// build builds and fails the test on an error.
func build(t testing.TB, b *Builder, r Request) image.Image {
	t.Helper()
	built, err := b.Build(t.Context(), r, nil)
	if err != nil {
		t.Fatal(err)
	}
	return built.Image
}

// fileOf reads a file of an image, through its layers; missing is "" and false.
func fileOf(t testing.TB, b *Builder, i image.Image, name string) (string, bool) {
	t.Helper()
	lower, err := b.store.Lower(t.Context(), i)
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range lower {
		if data, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
			return string(data), true
		}
	}
	return "", false
}

// wantContent checks a file of an image.
func wantContent(t testing.TB, b *Builder, i image.Image, name, want string) {
	t.Helper()
	if got, ok := fileOf(t, b, i, name); !ok || got != want {
		t.Errorf("%s = %q (exists: %v), want %q", name, got, ok, want)
	}
}

// cachedSteps builds and tells for each step whether it came from the cache.
func cachedSteps(t testing.TB, b *Builder, r Request) map[string]bool {
	t.Helper()
	status := make(chan *client.SolveStatus)
	cached := map[string]bool{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for s := range status {
			for _, v := range s.Vertexes {
				cached[v.Name] = cached[v.Name] || v.Cached
			}
		}
	}()
	_, err := b.Build(t.Context(), r, status)
	<-done
	if err != nil {
		t.Fatal(err)
	}
	return cached
}
