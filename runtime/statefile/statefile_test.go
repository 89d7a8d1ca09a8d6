package statefile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

type sample struct{ A, B string }

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	for name, write := range map[string]func(string, any) error{"Write": Write, "WriteSync": WriteSync} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "state.json")
			want := sample{"x", "y"}
			if err := write(path, want); err != nil {
				t.Fatal(err)
			}
			var got sample
			if err := Read(path, &got); err != nil || got != want {
				t.Fatalf("read %v, %v; want %v", got, err, want)
			}
			st, err := os.Stat(path)
			if err != nil || st.Mode().Perm() != 0o600 {
				t.Fatalf("mode %v, %v; want 0600", st.Mode(), err)
			}
		})
	}
}

func TestReadMissing(t *testing.T) {
	t.Parallel()
	var s sample
	if err := Read(filepath.Join(t.TempDir(), "none"), &s); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("got %v, want fs.ErrNotExist", err)
	}
}

// A reader during many writes must always see one whole value, and no
// temporary file may remain.
func TestConcurrentWriters(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "s")
	if err := Write(path, sample{"0", "0"}); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for _, v := range []string{"1", "2", "3"} {
		wg.Go(func() {
			for range 100 {
				if err := Write(path, sample{v, v}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 200 {
		var s sample
		if err := Read(path, &s); err != nil || s.A != s.B {
			t.Fatalf("read %v, %v", s, err)
		}
	}
	wg.Wait()
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Fatalf("left behind: %v, %v", entries, err)
	}
}
