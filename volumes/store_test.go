package volumes

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func open(t testing.TB) *Store {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "volumes"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func create(t testing.TB, s *Store, name string) Volume {
	t.Helper()
	v, created, err := s.Create(Spec{Name: name})
	if err != nil || !created {
		t.Fatalf("created %t, %v", created, err)
	}
	return v
}

func write(t testing.TB, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func TestLifeOfAVolume(t *testing.T) {
	t.Parallel()
	s := open(t)
	spec := Spec{Name: "shop_data", Labels: map[string]string{"a": "b"}}
	made, created, err := s.Create(spec)
	if err != nil || !created || made.Driver != "local" {
		t.Fatalf("%+v, %t, %v", made, created, err)
	}
	write(t, filepath.Join(made.Path, "file"), "kept")
	again, created, err := s.Create(spec)
	if err != nil || created || !again.CreatedAt.Equal(made.CreatedAt) || again.Labels["a"] != "b" {
		t.Fatalf("again: %+v, %t, %v", again, created, err)
	}
	create(t, s, "other")
	reopened, err := Open(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	list, err := reopened.List()
	if err != nil || len(list) != 2 || list[0].Name != "other" || list[1].Path != made.Path {
		t.Fatalf("list %+v, %v", list, err)
	}
	if got := read(t, filepath.Join(list[1].Path, "file")); got != "kept" {
		t.Errorf("content %q", got)
	}
	for _, name := range []string{"shop_data", "other"} {
		if err := s.Remove(name); err != nil {
			t.Error(err)
		}
	}
	if err := s.Remove("other"); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), `"other"`) {
		t.Errorf("removed twice: %v", err)
	}
	if _, err := s.Get("other"); !errors.Is(err, ErrNotFound) {
		t.Errorf("get: %v", err)
	}
	if left, _ := os.ReadDir(s.dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	for path, want := range map[string]os.FileMode{s.dir: 0o700, made.Path: 0o755} {
		if info, err := os.Stat(path); err == nil && info.Mode().Perm() != want {
			t.Errorf("%s: mode %v", path, info.Mode())
		}
	}
}

func TestCreateAtOnce(t *testing.T) {
	t.Parallel()
	s := open(t)
	var wg sync.WaitGroup
	made := make(chan bool, 20)
	for range 20 {
		wg.Go(func() {
			_, created, err := s.Create(Spec{Name: "one"})
			if err != nil {
				t.Error(err)
			}
			if created {
				made <- true
			}
		})
	}
	wg.Wait()
	if len(made) != 1 {
		t.Errorf("created %d times", len(made))
	}
}

func TestRefusedVolumes(t *testing.T) {
	t.Parallel()
	s := open(t)
	long := strings.Repeat("x", 256)
	for _, name := range []string{"", "x", ".", "..", ".hidden", "-x", "a/b", "../etc", "a b", "a\x00b", "ä1", long} {
		if _, _, err := s.Create(Spec{Name: name}); !errors.Is(err, ErrInvalid) {
			t.Errorf("create %q: %v", name, err)
		}
		if err := s.Remove(name); !errors.Is(err, ErrNotFound) {
			t.Errorf("remove %q: %v", name, err)
		}
		if _, err := s.Get(name); err == nil {
			t.Errorf("got %q", name)
		}
	}
	for want, spec := range map[string]Spec{
		`driver "nfs-plugin" is not there`:                  {Name: "vol", Driver: "nfs-plugin"},
		`unknown driver_opts key "sise"`:                    {Name: "vol", DriverOpts: map[string]string{"sise": "1"}},
		"needs both type and device":                        {Name: "vol", DriverOpts: map[string]string{"type": "nfs"}},
		"size (a quota) is not supported":                   {Name: "vol", DriverOpts: map[string]string{"size": "1g"}},
		`device "data" must be an absolute path to bind it`: {Name: "vol", DriverOpts: map[string]string{"type": "none", "o": "bind", "device": "data"}},
	} {
		_, _, err := s.Create(spec)
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), `"vol"`) {
			t.Errorf("%v: %v", spec, err)
		}
	}
	create(t, s, "vol")
	v, _, err := s.Create(Spec{Name: "vol", DriverOpts: map[string]string{"type": "tmpfs", "device": "tmpfs"}})
	if !errors.Is(err, ErrConflict) || v.Name != "vol" {
		t.Errorf("other options: %+v, %v", v, err)
	}
	if left, _ := filepath.Glob(filepath.Join(s.dir, ".*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestOpenRemovesHalfVolumes(t *testing.T) {
	t.Parallel()
	s := open(t)
	write(t, filepath.Join(s.dir, ".new-1", "_data", "x"), "")
	write(t, filepath.Join(s.dir, ".del-2", "vol", "_data", "x"), "")
	create(t, s, "vol")
	if _, err := Open(s.dir); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(s.dir); len(left) != 1 || left[0].Name() != "vol" {
		t.Errorf("left: %v", left)
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	s := open(t)
	v := create(t, s, "vol")
	write(t, filepath.Join(v.Path, "a/b/c"), strings.Repeat("x", 1000))
	write(t, filepath.Join(v.Path, "d"), strings.Repeat("x", 24))
	if err := os.Link(filepath.Join(v.Path, "d"), filepath.Join(v.Path, "a/link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/", filepath.Join(v.Path, "root")); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Usage(t.Context(), "vol"); n != 1025 || err != nil { // the symlink's own length is 1
		t.Errorf("%d bytes, %v", n, err)
	}
	if _, err := s.Usage(t.Context(), "none"); !errors.Is(err, ErrNotFound) {
		t.Errorf("none: %v", err)
	}
}
