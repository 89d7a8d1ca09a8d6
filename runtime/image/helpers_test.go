package image

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tutti/runtime/image/imagetest"
	"tutti/runtime/image/registry"
)

// TestMain checks that the tests leave nothing mounted, in a folder of their own: others may run these tests, too.
func TestMain(m *testing.M) {
	if root := os.Getenv(killRoot); root != "" {
		loadForever(root)
	}
	dir, err := os.MkdirTemp("", "TestImages")
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

// openStore opens a store in its own folder and closes it with the test.
func openStore(t testing.TB) *Store {
	t.Helper()
	return openStoreAt(t, t.TempDir())
}

func openStoreAt(t testing.TB, root string) *Store {
	t.Helper()
	s, err := Open(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// testImage has two small layers; text makes it unlike others.
func testImage(text string, names ...string) imagetest.Image {
	image := imagetest.Image{Names: names, Layers: [][]imagetest.File{
		{{Path: "base/"}, {Path: "base/common", Body: "the same in all"}},
		{{Path: "text", Body: text}},
	}}
	image.Config.Cmd = []string{"/text"}
	return image
}

func dockerArchive(t testing.TB, images ...imagetest.Image) *bytes.Buffer {
	t.Helper()
	var buffer bytes.Buffer
	if err := imagetest.DockerArchive(&buffer, images...); err != nil {
		t.Fatal(err)
	}
	return &buffer
}

// load loads images from a docker-archive.
func load(t testing.TB, s *Store, images ...imagetest.Image) []Image {
	t.Helper()
	loaded, err := s.Load(t.Context(), dockerArchive(t, images...), LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return loaded
}

// configure makes the store reach registries in another way.
func configure(t testing.TB, s *Store, o registry.Options) {
	t.Helper()
	s.clients.Close()
	s.clients = registry.New(o)
}

// attributesOf lists the extended attributes of a file.
func attributesOf(t testing.TB, path string) []string {
	t.Helper()
	buffer := make([]byte, 4096)
	n, err := unix.Llistxattr(path, buffer)
	if err != nil {
		t.Fatal(err)
	}
	return strings.FieldsFunc(string(buffer[:n]), func(r rune) bool { return r == 0 })
}
