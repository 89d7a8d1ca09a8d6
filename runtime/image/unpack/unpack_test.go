package unpack

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/pkg/archive"
	"golang.org/x/sys/unix"
)

// layerOf writes the layer that a text describes. A line of it is one file: the letter of its kind, its name, and where it
// leads, with spaces between. Owners, modes and times differ from file to file.
func layerOf(text string) ([]byte, bool) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	n := int64(0)
	for line := range strings.Lines(text) {
		kind, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		name, to, _ := strings.Cut(rest, " ")
		if len(kind) != 1 {
			return nil, false
		}
		n++
		h := &tar.Header{Name: name, Linkname: to, Typeflag: kind[0], Mode: 0o6777 & (0o4711 + n), Uid: int(n), Gid: int(1000 + n), ModTime: time.Unix(n*1000, n)}
		if h.Typeflag == tar.TypeReg {
			h.Size, h.Linkname = 1, ""
		}
		if to == "attributes" {
			h.Linkname, h.PAXRecords = "", map[string]string{"SCHILY.xattr.trusted.x": "1", "SCHILY.xattr.security.capability": "\x01\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", "SCHILY.xattr.user.y": "yes"}
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, false
		}
		if h.Size > 0 {
			if _, err := w.Write([]byte("x")); err != nil {
				return nil, false
			}
		}
	}
	return b.Bytes(), w.Close() == nil
}

// tree describes all that is in a folder; times: with when files were changed, as their layer says.
func tree(t testing.TB, root string, times bool) map[string]string {
	t.Helper()
	all, names := map[string]string{}, map[uint64]string{}
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		name := strings.TrimPrefix(path, root)
		text := fmt.Sprintf("%o %d:%d %d", st.Mode, st.Uid, st.Gid, st.Rdev)
		if times && st.Mtim.Sec < 1e9 { // otherwise it was made by the way, just now
			text += fmt.Sprintf(" at %d.%d", st.Mtim.Sec, st.Mtim.Nsec)
		}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text += fmt.Sprintf(" %q", content)
		case unix.S_IFLNK:
			to, err := os.Readlink(path)
			if err != nil {
				return err
			}
			text += " to " + to
		}
		if first, ok := names[st.Ino]; ok {
			text += " is " + first
		} else if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			names[st.Ino] = name
		}
		list := make([]byte, 4096)
		n, err := unix.Llistxattr(path, list)
		if err != nil {
			return err
		}
		attributes := strings.Split(string(list[:n]), "\x00")
		slices.Sort(attributes)
		for _, attribute := range attributes {
			if attribute != "" {
				value := make([]byte, 4096)
				n, err := unix.Lgetxattr(path, attribute, value)
				if err != nil {
					return err
				}
				text += fmt.Sprintf(" %s=%q", attribute, value[:n])
			}
		}
		all[name] = text
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// lowerLayer has links, folders with owners of their own, and files.
const lowerLayer = "5 usr\n5 usr/lib\n0 usr/lib/a\n2 lib usr/lib\n2 up ../..\n2 abs /usr\n0 file\n5 deep\n5 deep/er\n5 deep/er/est attributes\n"

// both unpacks a layer as this package and as containerd does, over the lower layer or over nothing, in folders of dir.
func both(t testing.TB, dir string, layer []byte, over bool) (ours, theirs string, oursErr, theirsErr error) {
	t.Helper()
	folder := func(name string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(path, 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	var lower []string
	var options []archive.ApplyOpt
	if over {
		lower = []string{folder("lower")}
		below, _ := layerOf(lowerLayer)
		if err := Layer(t.Context(), lower[0], bytes.NewReader(below), Options{Temp: dir}); err != nil {
			t.Fatal(err)
		}
		options = []archive.ApplyOpt{archive.WithParents(lower), archive.WithConvertWhiteout(archive.OverlayConvertWhiteout)}
	}
	ours, theirs = folder("ours"), folder("theirs")
	oursErr = Layer(t.Context(), ours, bytes.NewReader(layer), Options{Lower: lower, Temp: dir})
	_, theirsErr = archive.Apply(t.Context(), theirs, bytes.NewReader(layer), options...)
	return ours, theirs, oursErr, theirsErr
}

// layers are texts that both must take alike.
var layers = []string{
	"5 a\n0 a/b\n1 c a/b\n2 d /etc\n6 fifo\n3 char\n4 block\n0 f attributes\n5 g attributes\n2 h attributes\n6 i attributes",
	"0 a/b/c\n5 a\n5 a/b", // parents that come later
	"0 lib/x\n0 abs/x\n0 up/x\n0 deep/er/est/x\n0 usr/lib/x", // parents that the layer below has, or has as links
	"2 l usr/lib\n0 l/x\n2 m deep/er\n0 m/n/x",               // links that lead to what only the layer below has
	"2 l /deep/er/new/one\n0 l/x\n2 out ../../../etc\n0 out/passwd\n0 ../../../y",
	"5 usr\n5 usr/.wh..wh..opq\n0 usr/new\n0 .wh.file\n0 deep/er/.wh.est",
	"0 x\n5 x\n0 x/y\n5 x\n2 x y\n6 x\n0 x\n5 x\n0 x/z", // one name for all kinds
	"5 d\n0 d/f\n2 e d\n0 e/g\n", "5 d\n5 d\n0 d/x\n5 d", "0 /abs\n0 ./rel\n5 ./\n5 /\n0 a//b/../c",
	"2 a b\n2 b a\n0 a/x", "0 x\n0 x/y", "1 x no\n", "1 x /no/such\n", "5 d\n1 x d\n", "5 d\n2 s d\n1 x s\n", "0 .wh.", "0 a/.wh..", "0 .wh...",
	"7 cont\n", "2 out no/../\n0 out/x", "2 l nowhere/at/all\n0 l/f\n5 l/g\n", "5 a\n5 b\n2 a/l ../b\n0 a/l/x\n1 y a/l/x\n",
}

// What a layer becomes is what it becomes in containerd.
func TestUnpackAsContainerd(t *testing.T) {
	t.Parallel()
	for _, text := range layers {
		for _, over := range []bool{false, true} {
			layer, ok := layerOf(text)
			if !ok {
				t.Fatalf("%q cannot be written", text)
			}
			ours, theirs, oursErr, theirsErr := both(t, t.TempDir(), layer, over)
			if (oursErr == nil) != (theirsErr == nil) {
				t.Errorf("%q: %v, containerd: %v", text, oursErr, theirsErr)
			}
			a, b := tree(t, ours, true), tree(t, theirs, true)
			if oursErr == nil && !maps.Equal(a, b) {
				t.Errorf("%q over %v:\n%v\ncontainerd:\n%v", text, over, lines(a), lines(b))
			}
		}
	}
}

func lines(all map[string]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&b, "\t%s %s\n", name, all[name])
	}
	return b.String()
}

// Where containerd is not what the specification says: whiteouts are about the layers below only, in any order, and what
// replaces a folder does not get its times.
func TestUnpackWhiteouts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text string
		over bool
		want map[string]string // parts of what must be there; "": nothing
	}{
		{"0 a\n0 .wh.a\n5 d\n0 d/x\n0 d/.wh..wh..opq\n", false, map[string]string{"/a": "x", "/d/x": "x"}},
		{"0 .wh.a\n", false, map[string]string{"/a": ""}},
		{"0 file\n0 .wh.file\n", true, map[string]string{"/file": "x"}},
		{"5 usr\n0 usr/x\n0 .wh.usr\n", true, map[string]string{"/usr": "opaque", "/usr/x": "x"}},
		{"0 .wh.usr\n5 usr\n0 usr/x\n", true, map[string]string{"/usr": "opaque", "/usr/x": "x"}},
		{"0 .wh.usr\n0 usr\n", true, map[string]string{"/usr": "at 2000.0 \"x\""}},
		{"5 d\n0 d\n", true, map[string]string{"/d": "at 2000.0 \"x\""}},
	} {
		layer, _ := layerOf(c.text)
		dir := t.TempDir()
		ours, _, err, _ := both(t, dir, layer, c.over)
		if err != nil {
			t.Errorf("%q: %v", c.text, err)
		}
		have := tree(t, ours, true)
		for name, part := range c.want {
			if text, ok := have[name]; !strings.Contains(text, part) || ok != (part != "") {
				t.Errorf("%q: %s is %q, want %q", c.text, name, text, part)
			}
		}
	}
}

// The times of folders are right however many there are.
func TestUnpackManyFolders(t *testing.T) {
	t.Parallel()
	const count = 2500
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	name := func(n int) string {
		return fmt.Sprintf("%s/%s%d/", strings.Repeat("l", 250), strings.Repeat("o", 240), n)
	}
	for n := range count {
		if err := w.WriteHeader(&tar.Header{Name: name(n), Typeflag: tar.TypeDir, Mode: 0o755, ModTime: time.Unix(int64(n)+1, 0)}); err != nil {
			t.Fatal(err)
		}
		if n%100 != 0 {
			continue
		}
		if err := w.WriteHeader(&tar.Header{Name: name(n) + "file", Typeflag: tar.TypeReg, Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	dir, temp := t.TempDir(), t.TempDir()
	if err := Layer(t.Context(), dir, &b, Options{Temp: temp}); err != nil {
		t.Fatal(err)
	}
	for n := range count {
		if info, err := os.Stat(filepath.Join(dir, name(n))); err != nil || info.ModTime().Unix() != int64(n)+1 {
			t.Fatalf("folder %d: %v, %v", n, info.ModTime(), err)
		}
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("left in the folder of temporary files: %v, %v", left, err)
	}
}

// FuzzUnpack unpacks layers of files that are named, linked and of kinds as the input says: nothing outside the folder
// changes, and where no whiteouts are in it, the result is containerd's. A device is one of overlayfs's whiteouts here, for it
// has the number 0:0: what takes its place hides what it has hidden.
//
//	go test ./runtime/image/unpack -run '^$' -fuzz FuzzUnpack -fuzztime 5m
func FuzzUnpack(f *testing.F) {
	for _, text := range layers {
		f.Add(text, true)
		f.Add(text, false)
	}
	f.Fuzz(func(t *testing.T, text string, over bool) {
		layer, ok := layerOf(text)
		if !ok || len(text) > 2000 {
			return
		}
		outside, err := os.MkdirTemp("", "unpack")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(outside)
		ours, theirs, oursErr, theirsErr := both(t, outside, layer, over)
		list, err := os.ReadDir(outside)
		if err != nil || len(list) > 3 {
			t.Errorf("outside there is %v, %v", list, err)
		}
		if strings.Contains(text, ".wh.") || strings.Contains("\n"+text, "\n3 ") || theirsErr != nil {
			return // containerd also refuses a folder that something else replaces, if that is a link that leads nowhere
		}
		if oursErr != nil {
			t.Errorf("%v, containerd takes it", oursErr)
		}
		if a, b := tree(t, ours, false), tree(t, theirs, false); oursErr == nil && !maps.Equal(a, b) {
			t.Errorf("%v\ncontainerd:\n%v", lines(a), lines(b))
		}
	})
}
