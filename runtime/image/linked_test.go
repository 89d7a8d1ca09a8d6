package image

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tutti/runtime/image/compare"
)

// A linked folder is like the one it is made of, with the same files in folders of its own.
func TestLinkTree(t *testing.T) {
	t.Parallel()
	from, to := t.TempDir(), t.TempDir()
	in := func(dir, name string) string { return filepath.Join(dir, name) }
	old := time.Unix(1e9, 5)
	err := errors.Join(
		os.MkdirAll(in(from, "a/b"), 0o755), os.WriteFile(in(from, "a/b/file"), []byte("text"), 0o640), os.Link(in(from, "a/b/file"), in(from, "a/hard")),
		os.Symlink("/nowhere", in(from, "a/link")), unix.Mknod(in(from, "a/gone"), unix.S_IFCHR, 0), unix.Mkfifo(in(from, "fifo"), 0o600),
		os.Mkdir(in(from, "opaque"), 0o700), unix.Setxattr(in(from, "opaque"), "trusted.overlay.opaque", []byte("y"), 0),
		unix.Setxattr(in(from, "opaque"), "trusted.overlay.origin", []byte("elsewhere"), 0), unix.Setxattr(in(from, "a"), "user.mine", []byte("1"), 0),
		os.Chown(in(from, "a/b"), 12, 34), os.Chmod(in(from, "a/b"), 0o3751), os.Chtimes(in(from, "a/b"), old, old), os.Chmod(from, 0o711))
	if err != nil {
		t.Fatal(err)
	}
	if err := linkTree(t.Context(), from, to, true); err != nil {
		t.Fatal(err)
	}
	err = compare.Layers(t.Context(), to, from, nil, func(d compare.Difference) error {
		t.Errorf("%s %s", d.Path, d.Problem)
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	for _, name := range []string{"a/b/file", "a/hard", "a/link", "a/gone", "fifo"} {
		a, errA := os.Lstat(in(from, name))
		b, errB := os.Lstat(in(to, name))
		if errA != nil || errB != nil || !os.SameFile(a, b) {
			t.Errorf("%s is another file: %v, %v", name, errA, errB)
		}
	}
	for _, name := range []string{".", "a/b"} {
		a, errA := os.Stat(in(from, name))
		b, errB := os.Stat(in(to, name))
		if errA != nil || errB != nil || os.SameFile(a, b) || a.Mode() != b.Mode() || name != "." && !a.ModTime().Equal(b.ModTime()) {
			t.Errorf("%s: %v and %v, %v, %v", name, a, b, errA, errB)
		}
	}
	if n, err := unix.Getxattr(in(to, "opaque"), "trusted.overlay.origin", nil); err == nil {
		t.Errorf("where it came from in another overlay is said in %d bytes", n)
	}

	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := linkTree(gone, from, t.TempDir(), true); !errors.Is(err, context.Canceled) {
		t.Errorf("called off: %v", err)
	}
	if err := linkTree(t.Context(), from, to, true); !errors.Is(err, unix.EEXIST) {
		t.Errorf("into a folder that is not empty: %v", err)
	}
}
