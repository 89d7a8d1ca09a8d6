package image

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tutti/runtime/image/imagetest"
)

// An archive that does not fit says where the room is missing, and leaves the store as it was.
func TestImageLoadWithoutRoom(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	if err := unix.Mount("small", root, "tmpfs", 0, "size=4m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(root, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	s := openStoreAt(t, root)
	kept := load(t, s, testImage("kept", "kept"))[0]
	large := imagetest.Image{Names: []string{"large"}, Layers: [][]imagetest.File{{{Path: "large", Body: strings.Repeat("0123456789abcdef", 150_000)}}}}
	for range 2 {
		_, err := s.Load(t.Context(), dockerArchive(t, large), LoadOptions{})
		if err == nil || !strings.Contains(err.Error(), root) || !strings.Contains(err.Error(), "free") { // found before, or when it is written
			t.Errorf("load without room: %v", err)
		}
		if err := s.GarbageCollect(t.Context()); err != nil {
			t.Fatal(err)
		}
		if faults := verify(t, s, nil); len(faults) > 0 {
			t.Errorf("after it: %+v", faults)
		}
	}
	checkLayers(t, s, kept, "kept")
	load(t, s, testImage("more", "more"))
}

func TestImageRoom(t *testing.T) {
	t.Parallel()
	s := &Store{root: "/"}
	for _, c := range []struct {
		err    error
		needed int64
		want   string
	}{
		{nil, 0, ""},
		{errors.New("other"), 5, ""},
		{fmt.Errorf("write: %w", unix.ENOSPC), 3_000_000, ", and 3MB were to be fetched"},
		{errors.New("rpc: write x: no space left on device"), 0, "the disk of / is full: "},
		{fmt.Errorf("open: %w", unix.EROFS), 0, "the file system of / is read-only"},
	} {
		got := s.Room(c.err, c.needed)
		if c.want == "" && !errors.Is(got, c.err) || c.want != "" && !strings.Contains(got.Error(), c.want) {
			t.Errorf("Room(%v) = %v, want %q", c.err, got, c.want)
		}
	}
}
