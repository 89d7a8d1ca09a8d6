package image

import (
	"archive/tar"
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Whatever is changed in an unpacked layer is found, and the layer put right, but not below a container that runs.
func TestImageVerifyFiles(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	dir := func(name string) entry {
		return entry{name: name, Header: tar.Header{Typeflag: tar.TypeDir, Mode: 0o755}}
	}
	base := tarOf(t, dir("dir/"), entry{name: "dir/file", data: "text"}, entry{name: "old", data: "old"}, entry{name: "suid", data: "x", Header: tar.Header{Mode: 0o4755}},
		entry{name: "link", Header: tar.Header{Typeflag: tar.TypeSymlink, Linkname: "dir/file"}}, dir("hidden/"), entry{name: "hidden/x", data: "x"})
	top := tarOf(t, entry{name: ".wh.old"}, dir("hidden/"), entry{name: "hidden/.wh..wh..opq"}, entry{name: "dir/new", data: strings.Repeat("new", 100_000)},
		entry{name: "cap", data: "x", Header: tar.Header{Mode: 0o755, PAXRecords: map[string]string{"SCHILY.xattr.security.capability": "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"}}})
	archive := dockerTar(t, []dockerEntry{{"c.json", []string{"a:1"}, []string{"0.tar", "1.tar"}}},
		entry{name: "c.json", data: configOf(t, base, top)}, entry{name: "0.tar", data: string(base)}, entry{name: "1.tar", data: string(top)})
	loaded, err := s.Load(t.Context(), bytes.NewReader(archive), LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	lower, err := s.Lower(t.Context(), loaded[0])
	if err != nil {
		t.Fatal(err)
	}
	in := func(layer int, name string) string { return filepath.Join(lower[1-layer], name) }
	look := func(users func(string) []string) []Fault {
		t.Helper()
		faults, looked, err := s.VerifyFiles(t.Context(), users)
		if err != nil || looked != 2 && len(faults) == 0 {
			t.Fatalf("%d layers looked at, %v", looked, err)
		}
		return faults
	}
	if faults := look(nil); len(faults) > 0 {
		t.Fatalf("a whole store: %+v", faults)
	}
	// What a build's layers may have, and archives cannot say.
	if err := errors.Join(os.Chtimes(in(1, "dir/new"), time.Unix(1e9, 0), time.Unix(1e9, 0)), os.WriteFile(in(1, "dir/file"), []byte("text"), 0o644),
		unix.Mknod(in(1, "nothing"), unix.S_IFCHR, 0), unix.Mknod(in(1, "socket"), unix.S_IFSOCK|0o600, 0)); err != nil {
		t.Fatal(err)
	}
	if faults := look(nil); len(faults) > 0 {
		t.Errorf("what changes nothing: %+v", faults)
	}
	if err := os.Remove(in(1, "dir/file")); err != nil {
		t.Fatal(err)
	}
	flip := bytes.Repeat([]byte("new"), 100_000)
	flip[200_000] ^= 1
	for _, c := range []struct {
		damage func() error
		want   string
	}{
		{func() error { return os.WriteFile(in(0, "dir/file"), []byte("TEXT"), 0o644) }, "/dir/file has another content"},
		{func() error { return os.WriteFile(in(0, "dir/file"), []byte("longer"), 0o644) }, "/dir/file has 6 bytes, not 4"},
		{func() error { return os.Remove(in(0, "dir/file")) }, "/dir/file is missing"},
		{func() error { return os.WriteFile(in(0, "dir/more"), nil, 0o644) }, "/dir/more should not be there"},
		{func() error { return unix.Chmod(in(0, "suid"), 0o755) }, "/suid has the mode 0755, not 4755"},
		{func() error { return os.Chown(in(0, "dir"), 7, 8) }, "/dir belongs to 7:8, not 0:0"},
		{func() error { return errors.Join(os.Remove(in(0, "link")), os.Symlink("/etc", in(0, "link"))) }, "/link leads elsewhere"},
		{func() error { return errors.Join(os.RemoveAll(in(0, "dir")), os.WriteFile(in(0, "dir"), nil, 0o755)) }, "/dir is of another kind"},
		{func() error { return os.WriteFile(in(1, "dir/new"), flip, 0o644) }, "/dir/new has another content"},
		{func() error {
			return unix.Setxattr(in(1, "cap"), "security.capability", []byte("\x01\x00\x00\x02\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), 0)
		}, "/cap lacks the attribute security.capability"},
		{func() error { return os.Remove(in(1, "old")) }, "/old is missing"}, // a whiteout: the file would be back
		{func() error { return unix.Removexattr(in(1, "hidden"), "trusted.overlay.opaque") }, "/hidden lacks the attribute trusted.overlay.opaque"},
	} {
		if err := c.damage(); err != nil {
			t.Fatal(err)
		}
		faults := look(nil)
		if len(faults) != 1 || !strings.Contains(faults[0].Problem, c.want) || !strings.Contains(faults[0].Problem, ": a:1") {
			t.Errorf("%s: %+v", c.want, faults)
			continue
		}
		if err := faults[0].Repair(t.Context()); err != nil {
			t.Errorf("%s: %v", c.want, err)
		}
		if faults := look(nil); len(faults) > 0 {
			t.Errorf("%s: after the repair: %+v", c.want, faults)
		}
	}
	// Below a container nothing is changed.
	if err := os.WriteFile(in(0, "dir/file"), []byte("TEXT"), 0o644); err != nil {
		t.Fatal(err)
	}
	runs := func(string) []string { return []string{"web-1"} }
	faults := look(runs)
	if len(faults) != 1 || !strings.Contains(faults[0].Hint, "stop web-1") {
		t.Fatalf("below a container: %+v", faults)
	}
	if err := faults[0].Repair(t.Context()); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "web-1") {
		t.Errorf("below a container: %v", err)
	}
	end := s.Begin()
	if err := look(nil)[0].Repair(t.Context()); !errors.Is(err, ErrInUse) {
		t.Errorf("during a build: %v", err)
	}
	end()
	if text, err := os.ReadFile(in(0, "dir/file")); err != nil || string(text) != "TEXT" {
		t.Errorf("it was changed: %q, %v", text, err)
	}
	if left, err := os.ReadDir(TempDir(s.root)); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}
