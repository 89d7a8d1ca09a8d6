package files

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// member is an entry of a tar under test.
type member struct {
	name, data, link string
	kind             byte
	mode             int64
	uid              int
	major, minor     int64
}

func tarOf(t testing.TB, members ...member) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		h := &tar.Header{Name: m.name, Typeflag: m.kind, Linkname: m.link, Mode: m.mode, Uid: m.uid, Gid: m.uid, Devmajor: m.major, Devminor: m.minor, ModTime: time.Unix(1_600_000_000, 0)}
		if m.kind == 0 {
			h.Typeflag, h.Size = tar.TypeReg, int64(len(m.data))
		}
		if m.mode == 0 {
			h.Mode = 0o644
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, m.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &b
}

// room is a folder to work in, with a tree below it and a canary beside the tree.
func room(t testing.TB) (outside string, tree *Tree) {
	t.Helper()
	outside = t.TempDir()
	write(t, filepath.Join(outside, "canary"), "safe")
	if err := os.Mkdir(filepath.Join(outside, "root"), 0o755); err != nil {
		t.Fatal(err)
	}
	tree, err := OpenFolder(filepath.Join(outside, "root"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tree.Close() })
	return outside, tree
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// checkCanary says whether anything has come out of a tree.
func checkCanary(t testing.TB, outside string) {
	t.Helper()
	if text, err := os.ReadFile(filepath.Join(outside, "canary")); err != nil || string(text) != "safe" {
		t.Errorf("the canary is %q, %v", text, err)
	}
	list, err := os.ReadDir(outside)
	if err != nil || len(list) != 2 {
		t.Errorf("outside there is %v, %v", list, err)
	}
}

func packed(t testing.TB, tree *Tree, name string) []string {
	t.Helper()
	var b bytes.Buffer
	if err := tree.Pack(t.Context(), &b, name); err != nil {
		t.Fatalf("pack %s: %v", name, err)
	}
	var names []string
	for r := tar.NewReader(&b); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return names
		}
		if err != nil {
			t.Fatal(err)
		}
		name := h.Name
		if h.Linkname != "" {
			name += " -> " + h.Linkname
		}
		names = append(names, name)
	}
}

// What is at a path, and under which names it is packed, is as docker has it.
func TestFilesPathRules(t *testing.T) {
	t.Parallel()
	_, tree := room(t)
	err := tree.Extract(t.Context(), tarOf(t,
		member{name: "dir/", kind: tar.TypeDir, mode: 0o755}, member{name: "dir/file", data: "text"},
		member{name: "dir/sub/deep", data: "x"}, // the folder is made
		member{name: "link", kind: tar.TypeSymlink, link: "dir"}, member{name: "abs", kind: tar.TypeSymlink, link: "/dir/file"},
		member{name: "out", kind: tar.TypeSymlink, link: "../../../../canary"}, member{name: "nowhere", kind: tar.TypeSymlink, link: "dir/missing"},
		member{name: "hard", kind: tar.TypeLink, link: "dir/file"}, member{name: "pipe", kind: tar.TypeFifo},
		member{name: "loop", kind: tar.TypeSymlink, link: "loop"}, member{name: "null", kind: tar.TypeChar, major: 1, minor: 3},
	), "/", ExtractOptions{KeepOwner: true})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/dir": "dir d", "dir": "dir d", "/dir/": "dir d", "/dir/.": ". d", "/link": "link L /dir", "/link/": "link d", "/link/.": ". d",
		"/link/file": "file -", "/abs": "abs L /dir/file", "/out": "out L /canary", "/nowhere": "nowhere L /dir/missing", "/../..": "/ d",
		"/": "/ d", "/dir/../dir/file": "file -", "/loop": "loop L /loop", "/pipe": "pipe p", "/null": "null D",
		"/no": "no such file or directory", "/dir/file/": "not a directory", "/dir/file/x": "not a directory", "/loop/": "too many levels of symbolic links", "/out/": "no such file",
	} {
		i, err := tree.Stat(path)
		got := strings.TrimSpace(fmt.Sprintf("%s %s %s", i.Name, i.Mode.String()[:1], i.LinkTarget))
		if err != nil {
			got = err.Error()
		}
		if err == nil && got != want || err != nil && !strings.Contains(got, want) {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
	whole := []string{"abs -> /dir/file", "dir/", "dir/file", "dir/sub/", "dir/sub/deep", "hard -> dir/file", "link -> dir", "loop -> loop", "nowhere -> dir/missing", "null", "out -> ../../../../canary", "pipe"}
	for path, want := range map[string][]string{
		"/dir": {"dir/", "dir/file", "dir/sub/", "dir/sub/deep"}, "/dir/.": {"./", "./file", "./sub/", "./sub/deep"}, "/dir/": {"dir/", "dir/file", "dir/sub/", "dir/sub/deep"},
		"/link": {"link -> dir"}, "/link/": {"link/", "link/file", "link/sub/", "link/sub/deep"}, "/link/file": {"file"}, "/dir/sub/deep": {"deep"}, "/pipe": {"pipe"}, "/null": {"null"},
	} {
		if got := packed(t, tree, path); !slices.Equal(got, want) {
			t.Errorf("%s is packed as %q, want %q", path, got, want)
		}
	}
	if got := packed(t, tree, "/"); len(got) != len(whole)+1 || got[0] != "/" || got[1] != "/abs -> /dir/file" {
		t.Errorf("/ is packed as %q", got)
	}
	var b bytes.Buffer
	if err := tree.Export(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	_, other := room(t)
	if err := other.Extract(t.Context(), &b, "/", ExtractOptions{KeepOwner: true}); err != nil {
		t.Fatal(err)
	}
	if got, want := packed(t, other, "/."), packed(t, tree, "/."); !slices.Equal(got, want) {
		t.Errorf("after an export and an import: %q, want %q", got, want)
	}
}

// What an archive says of owners, modes, times and holes comes out again, and is not followed where it must not be.
func TestFilesAttributes(t *testing.T) {
	t.Parallel()
	outside, tree := room(t)
	root := filepath.Join(outside, "root")
	archive := func() *bytes.Buffer {
		return tarOf(t, member{name: "dir/", kind: tar.TypeDir, mode: 0o750, uid: 7}, member{name: "dir/suid", data: "x", mode: 0o4755, uid: 1234},
			member{name: "zeros", data: strings.Repeat("\x00", 8<<20)}, member{name: "link", kind: tar.TypeSymlink, link: "dir", uid: 5})
	}
	stat := func(name string) (st unix.Stat_t) {
		t.Helper()
		if err := unix.Lstat(filepath.Join(root, name), &st); err != nil {
			t.Fatal(err)
		}
		return st
	}
	if err := tree.Extract(t.Context(), archive(), "/", ExtractOptions{KeepOwner: true}); err != nil {
		t.Fatal(err)
	}
	if st := stat("dir/suid"); st.Uid != 1234 || st.Mode&0o7777 != 0o4755 || st.Mtim.Sec != 1_600_000_000 {
		t.Errorf("kept: %+v", st)
	}
	if st := stat("dir"); st.Uid != 7 || st.Mode&0o7777 != 0o750 || st.Mtim.Sec != 1_600_000_000 {
		t.Errorf("the folder: %+v", st)
	}
	if st := stat("link"); st.Uid != 5 {
		t.Errorf("the link: %+v", st)
	}
	if st := stat("zeros"); st.Size != 8<<20 || st.Blocks > 100 {
		t.Errorf("zeros take %d blocks", st.Blocks)
	}
	if err := tree.Extract(t.Context(), archive(), "/", ExtractOptions{Owner: &Owner{42, 43}}); err != nil {
		t.Fatal(err)
	}
	if st := stat("dir/suid"); st.Uid != 42 || st.Gid != 43 || st.Mode&0o7777 != 0o4755 {
		t.Errorf("given away: %+v", st)
	}
	if err := os.RemoveAll(filepath.Join(root, "dir")); err != nil {
		t.Fatal(err)
	}
	if err := tree.Extract(t.Context(), archive(), "/", ExtractOptions{}); err != nil {
		t.Fatal(err)
	}
	if st := stat("dir/suid"); int(st.Uid) != os.Geteuid() || st.Mode&0o7777 != 0o755 {
		t.Errorf("our own: %+v", st)
	}
}

// Hostile archives change nothing outside, and those that cannot be meant are refused.
func TestFilesHostileArchives(t *testing.T) {
	t.Parallel()
	link := func(name, to string) member { return member{name: name, kind: tar.TypeSymlink, link: to} }
	hard := func(name, to string) member { return member{name: name, kind: tar.TypeLink, link: to} }
	up := strings.Repeat("../", 20)
	for name, c := range map[string]struct {
		members []member
		want    error
	}{
		"dots":             {[]member{{name: up + "canary", data: "x"}}, ErrOutside},
		"one dot":          {[]member{{name: "../canary", data: "x"}}, ErrOutside},
		"absolute":         {[]member{{name: "/canary", data: "x"}}, nil},
		"through a link":   {[]member{link("d", ".."), {name: "d/canary", data: "x"}}, nil},
		"absolute link":    {[]member{link("d", "OUTSIDE"), {name: "d/canary", data: "x"}}, nil},
		"over a link":      {[]member{link("f", "../canary"), {name: "f", data: "x"}}, nil},
		"hard link dots":   {[]member{hard("h", "../canary"), {name: "h", data: "x"}}, ErrOutside},
		"hard link link":   {[]member{link("d", ".."), hard("h", "d/canary")}, nil},
		"hard link itself": {[]member{hard("h", "h")}, unix.ENOENT},
		"loop":             {[]member{link("a", "b"), link("b", "a"), {name: "a/x", data: "x"}}, unix.ELOOP},
		"block device":     {[]member{{name: "sda", kind: tar.TypeBlock, major: 8}}, ErrArchive},
		"kernel memory":    {[]member{{name: "mem", kind: tar.TypeChar, major: 1, minor: 1}}, ErrArchive},
		"overlay whiteout": {[]member{{name: "w", kind: tar.TypeChar}}, ErrArchive},
		"kind":             {[]member{{name: "x", kind: 'Z'}}, ErrArchive},
		"root":             {[]member{{name: "./", kind: tar.TypeDir, mode: 0o777}, {name: "/", kind: tar.TypeDir, mode: 0o777}}, nil},
		"file on a folder": {[]member{{name: "d/", kind: tar.TypeDir}, {name: "d", data: "x"}}, ErrOverwrite},
		"folder on a file": {[]member{{name: "f", data: "x"}, {name: "f/", kind: tar.TypeDir}}, ErrOverwrite},
		"deep":             {[]member{{name: strings.Repeat("d/", 2040) + "f", data: "x"}, {name: "again", data: "x"}}, nil},
	} {
		for _, links := range []bool{true, false} {
			outside, tree := room(t)
			for i := range c.members {
				c.members[i].link = strings.Replace(c.members[i].link, "OUTSIDE", outside, 1)
			}
			err := tree.Extract(t.Context(), tarOf(t, c.members...), "/", ExtractOptions{KeepOwner: true, KeepKind: true, Links: links})
			if c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("%s: %v, want %v", name, err, c.want)
			}
			checkCanary(t, outside)
		}
	}
	_, tree := room(t)
	for _, data := range []string{"no tar at all, but a text that is longer than a header of a tar, which has 512 bytes" + strings.Repeat(" ", 512), "\x1f\x8b\x08garbage", "\xfd7zXZ\x00garbage"} {
		if err := tree.Extract(t.Context(), strings.NewReader(data), "/", ExtractOptions{}); !errors.Is(err, ErrArchive) {
			t.Errorf("%.10q: %v", data, err)
		}
	}
	whole := tarOf(t, member{name: "f", data: strings.Repeat("x", 5000)}).Bytes()
	if err := tree.Extract(t.Context(), bytes.NewReader(whole[:2000]), "/", ExtractOptions{}); !errors.Is(err, ErrArchive) {
		t.Errorf("an archive that is cut off: %v", err)
	}
	if err := tree.Extract(t.Context(), bytes.NewReader(whole), "/f", ExtractOptions{}); !errors.Is(err, ErrNotFolder) {
		t.Errorf("into a file: %v", err)
	}
}

// While a container swaps folders and links that lead out, neither what is packed nor what is extracted leaves it
// (CVE-2018-15664, CVE-2026-42306).
func TestFilesSwappedFolders(t *testing.T) {
	t.Parallel()
	outside, tree := room(t)
	root := filepath.Join(outside, "root")
	for _, d := range []string{"dir", "dir/sub", "other"} {
		if err := os.Mkdir(filepath.Join(root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(root, "dir/canary"), "inside")
	if err := os.Symlink(outside, filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../../..", filepath.Join(root, "up")); err != nil {
		t.Fatal(err)
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		dir := filepath.Join(root, "dir")
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			with := filepath.Join(root, []string{"link", "up", "other"}[i%3])
			_ = unix.Renameat2(unix.AT_FDCWD, dir, unix.AT_FDCWD, with, unix.RENAME_EXCHANGE) // the test removes it at times
			_ = unix.Renameat2(unix.AT_FDCWD, dir, unix.AT_FDCWD, with, unix.RENAME_EXCHANGE)
		}
	}()
	for i := range 120 {
		var b bytes.Buffer
		for _, path := range []string{"/dir/canary", "/dir/.", "/dir"} {
			b.Reset()
			if err := tree.Pack(t.Context(), &b, path); err == nil && bytes.Contains(b.Bytes(), []byte("safe")) {
				t.Fatal("a file from outside was packed")
			}
		}
		// What comes of these depends on the moment.
		_ = tree.Extract(t.Context(), tarOf(t, member{name: "canary", data: "evil"}), "/dir", ExtractOptions{KeepOwner: true, Links: true})
		_ = tree.Extract(t.Context(), tarOf(t, member{name: "dir/sub/new/canary", data: "evil"}, member{name: "dir/canary", data: fmt.Sprint(i)}), "/", ExtractOptions{KeepOwner: true, Links: true})
		_, _ = tree.Stat("/dir/canary")
	}
	close(stop)
	<-stopped
	checkCanary(t, outside)
}
