package image

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/content"
	contentlocal "github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/containerd/errdefs"
	bolt "go.etcd.io/bbolt"
)

// A writer that the database cannot record, as it cannot grow, is not left open: the next attempt gets the same error, and
// one after there is room gets its writer. With the writer left open both would be told that somebody has it.
func TestWriterThatIsNotRecorded(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	blobs, err := contentlocal.NewStore(filepath.Join(root, "content"))
	if err != nil {
		t.Fatal(err)
	}
	layers, err := openLayers(root)
	if err != nil {
		t.Fatal(err)
	}
	db, err := bolt.Open(filepath.Join(root, "meta.db"), 0o600, boltOptions())
	if err != nil {
		t.Fatal(err)
	}
	s := newStore(root, db, blobs.(localContent), layers)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := s.begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx := scope(t.Context())
	ref := content.WithRef("ref-" + strings.Repeat("x", 30<<10))
	db.MaxSize = 1 // a full disk
	for range 2 {
		if w, err := s.content.Writer(ctx, ref); err == nil || errdefs.IsUnavailable(err) {
			t.Fatalf("with a database that cannot grow: %v, %v", w, err)
		}
	}
	db.MaxSize = 0
	w, err := s.content.Writer(ctx, ref)
	if err != nil {
		t.Fatalf("once it can grow: %v", err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}
