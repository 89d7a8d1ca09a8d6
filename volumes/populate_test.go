package volumes

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// richImage makes a root file system with all kinds of files in /srv/data.
func richImage(t testing.TB) string {
	t.Helper()
	root := t.TempDir()
	dir := filepath.Join(root, "srv/data")
	write(t, filepath.Join(dir, "plain"), "hello")
	write(t, filepath.Join(dir, "sub/deep/file"), "deep")
	for _, step := range []error{
		os.Chown(filepath.Join(dir, "plain"), 1000, 1001),
		unix.Chmod(filepath.Join(dir, "plain"), 0o4640),
		os.Symlink("/etc/passwd", filepath.Join(dir, "symlink")),
		os.Lchown(filepath.Join(dir, "symlink"), 7, 8),
		os.Link(filepath.Join(dir, "plain"), filepath.Join(dir, "sub/hardlink")),
		syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600),
		unix.Mknod(filepath.Join(dir, "device"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))),
		unix.Setxattr(filepath.Join(dir, "sub/deep/file"), "user.note", []byte("a\x00b"), 0),
		// cap_net_bind_service=ep, which a later chown would take away
		unix.Setxattr(filepath.Join(dir, "sub/deep/file"), "security.capability", []byte("\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), 0),
		sparseFile(filepath.Join(dir, "sparse")),
		os.Chown(dir, 999, 999),
		unix.Chmod(filepath.Join(dir, "sub"), 0o2770),
		unix.Chmod(dir, 0o1750),
	} {
		if step != nil {
			t.Fatal(step)
		}
	}
	old := time.Date(2020, 1, 2, 3, 4, 5, 6, time.UTC)
	for _, name := range []string{"plain", "sub/deep/file", "sub/deep", "sub", "."} {
		if err := os.Chtimes(filepath.Join(dir, name), old, old); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func sparseFile(name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte("middle"), 4<<20)
	return errors.Join(err, f.Truncate(16<<20), f.Close())
}

// tree describes all of a directory in comparable lines.
func tree(t testing.TB, dir string) string {
	t.Helper()
	var b strings.Builder
	links := map[uint64]string{}
	err := filepath.WalkDir(dir, func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(name, &st); err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, name)
		fmt.Fprintf(&b, "%s %o %d:%d dev %d", rel, st.Mode, st.Uid, st.Gid, st.Rdev)
		if st.Mode&unix.S_IFMT == unix.S_IFREG || st.Mode&unix.S_IFMT == unix.S_IFDIR {
			fmt.Fprintf(&b, " at %d.%d", st.Mtim.Sec, st.Mtim.Nsec)
		}
		if st.Mode&unix.S_IFMT == unix.S_IFREG {
			content, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %q sparse %t", strings.Trim(string(content), "\x00"), st.Blocks*512 < st.Size)
			if st.Nlink > 1 {
				if links[st.Ino] == "" {
					links[st.Ino] = rel
				}
				fmt.Fprintf(&b, " same as %s", links[st.Ino])
			}
			for _, attr := range []string{"user.note", "security.capability"} {
				value := make([]byte, 100)
				if n, err := unix.Lgetxattr(name, attr, value); err == nil {
					fmt.Fprintf(&b, " %s=%q", attr, value[:n])
				}
			}
		}
		if target, err := os.Readlink(name); err == nil {
			fmt.Fprintf(&b, " -> %s", target)
		}
		b.WriteString("\n")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestPopulateCopiesEverything(t *testing.T) {
	t.Parallel()
	s, root := open(t), richImage(t)
	for name, populate := range map[string]func(Volume) error{
		"root":  func(v Volume) error { return s.Populate(t.Context(), v, root, "/srv/data") },
		"layer": func(v Volume) error { return s.PopulateLayers(t.Context(), v, []string{root}, "/srv/data") },
		"layers": func(v Volume) error {
			return s.PopulateLayers(t.Context(), v, []string{t.TempDir(), root}, "/srv/data")
		},
	} {
		v := create(t, s, name)
		before, err := os.Stat(v.Path)
		if err != nil {
			t.Fatal(err)
		}
		if err := populate(v); err != nil {
			t.Fatal(err)
		}
		want := tree(t, filepath.Join(root, "srv/data"))
		if got := tree(t, v.Path); got != want {
			t.Errorf("%s: got\n%swant\n%s", name, got, want)
		}
		if after, err := os.Stat(v.Path); err != nil || !os.SameFile(before, after) {
			t.Errorf("%s: the data folder is another one: %v", name, err)
		}
		write(t, filepath.Join(v.Path, "plain"), "changed")
		if err := populate(v); err != nil || read(t, filepath.Join(v.Path, "plain")) != "changed" {
			t.Errorf("%s: a volume in use was filled again: %v", name, err)
		}
		if left, _ := filepath.Glob(filepath.Join(s.dir, name, ".*")); len(left) != 0 {
			t.Errorf("%s: left behind: %v", name, left)
		}
	}
}

func TestPopulateNothing(t *testing.T) {
	t.Parallel()
	s, root := open(t), t.TempDir()
	write(t, filepath.Join(root, "etc/file"), "")
	if err := os.Mkdir(filepath.Join(root, "empty"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(filepath.Join(root, "empty"), 5, 6); err != nil {
		t.Fatal(err)
	}
	for i, layers := range [][]string{{root}, {root, t.TempDir()}} {
		v := create(t, s, fmt.Sprint("none", i))
		if err := s.PopulateLayers(t.Context(), v, layers, "/no/such/path"); err != nil {
			t.Error(err)
		}
		if err := s.PopulateLayers(t.Context(), v, layers, "/etc/file"); !errors.Is(err, errNotFolder) || !strings.Contains(err.Error(), `"none`) {
			t.Errorf("over a file: %v", err)
		}
		// An empty folder passes its owner and mode on.
		if err := s.PopulateLayers(t.Context(), v, layers, "/empty"); err != nil {
			t.Error(err)
		}
		var st unix.Stat_t
		if err := unix.Stat(v.Path, &st); err != nil || st.Uid != 5 || st.Gid != 6 || st.Mode&0o777 != 0o700 {
			t.Errorf("%+v, %v", st, err)
		}
	}
	v := create(t, s, "used")
	write(t, filepath.Join(v.Path, "mine"), "")
	if err := s.Populate(t.Context(), v, root, "/etc"); err != nil {
		t.Error(err)
	}
	if list, _ := os.ReadDir(v.Path); len(list) != 1 {
		t.Errorf("content %v", list)
	}
}

func TestPopulateFromLayers(t *testing.T) {
	t.Parallel()
	s := open(t)
	base := t.TempDir()
	odd := filepath.Join(base, `odd:name,with\all`)
	top, middle, bottom := filepath.Join(odd, "top"), filepath.Join(base, "middle"), filepath.Join(base, "bottom")
	write(t, filepath.Join(bottom, "data/kept"), "bottom")
	write(t, filepath.Join(bottom, "data/replaced"), "bottom")
	write(t, filepath.Join(bottom, "data/deleted"), "bottom")
	write(t, filepath.Join(bottom, "data/opaque/hidden"), "bottom")
	write(t, filepath.Join(middle, "data/replaced"), "middle")
	write(t, filepath.Join(middle, "data/opaque/shown"), "middle")
	write(t, filepath.Join(top, "data/new"), "top")
	for _, step := range []error{
		unix.Mknod(filepath.Join(middle, "data/deleted"), unix.S_IFCHR, 0),
		unix.Setxattr(filepath.Join(middle, "data/opaque"), "trusted.overlay.opaque", []byte("y"), 0),
		os.Symlink("data", filepath.Join(top, "alias")),
		os.Mkdir(filepath.Join(bottom, "gone"), 0o755),
		unix.Mknod(filepath.Join(top, "gone"), unix.S_IFCHR, 0),
	} {
		if step != nil {
			t.Fatal(step)
		}
	}
	layers := []string{top, middle, bottom}
	for i, path := range []string{"/data", "/alias", "/../alias/../data/"} {
		v := create(t, s, fmt.Sprint("vol", i))
		if err := s.PopulateLayers(t.Context(), v, layers, path); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]string{"kept": "bottom", "replaced": "middle", "opaque/shown": "middle", "new": "top"} {
			if got := read(t, filepath.Join(v.Path, name)); got != want {
				t.Errorf("%s: %s: %q", path, name, got)
			}
		}
		for _, name := range []string{"deleted", "opaque/hidden"} {
			if _, err := os.Lstat(filepath.Join(v.Path, name)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: %s: %v", path, name, err)
			}
		}
		if n, err := unix.Getxattr(filepath.Join(v.Path, "opaque"), "trusted.overlay.opaque", nil); err == nil {
			t.Errorf("overlayfs' attribute of %d bytes was copied", n)
		}
	}
	v := create(t, s, "gone")
	if err := s.PopulateLayers(t.Context(), v, layers, "/gone"); err != nil {
		t.Error(err)
	}
	if strings.Contains(read(t, "/proc/self/mountinfo"), s.dir) {
		t.Error("a mount is left")
	}
}

// Nothing of the host may be copied, wherever an image's symlinks lead.
func TestPopulateHostileSymlinks(t *testing.T) {
	t.Parallel()
	s, root, outside := open(t), t.TempDir(), t.TempDir()
	write(t, filepath.Join(outside, "secret"), "host")
	write(t, filepath.Join(root, outside, "inside"), "image") // the same path inside the image
	up := strings.Repeat("../", 30)
	for _, step := range []error{
		os.Symlink(outside, filepath.Join(root, "absolute")),
		os.Symlink(up+outside, filepath.Join(root, "relative")),
		os.Symlink(filepath.Dir(outside), filepath.Join(root, "prefix")),
		os.Symlink("/proc/self/root"+outside, filepath.Join(root, "magic")),
		os.Symlink("loop", filepath.Join(root, "loop")),
	} {
		if step != nil {
			t.Fatal(step)
		}
	}
	for i, path := range []string{"/absolute", "/relative", "/prefix/" + filepath.Base(outside), up + outside, "/magic", "/loop"} {
		for kind, populate := range map[string]func(Volume) error{
			"root":   func(v Volume) error { return s.Populate(t.Context(), v, root, path) },
			"layer":  func(v Volume) error { return s.PopulateLayers(t.Context(), v, []string{root}, path) },
			"layers": func(v Volume) error { return s.PopulateLayers(t.Context(), v, []string{root, t.TempDir()}, path) },
		} {
			v := create(t, s, fmt.Sprint(kind, i))
			err := populate(v)
			if path == "/loop" && err == nil {
				t.Errorf("%s of %s: no error", path, kind)
			} else if path != "/loop" && err != nil {
				t.Errorf("%s of %s: %v", path, kind, err)
			}
			if _, err := os.Lstat(filepath.Join(v.Path, "secret")); err == nil {
				t.Errorf("%s of %s: the host's file was copied", path, kind)
			}
			if _, err := os.Lstat(filepath.Join(v.Path, "inside")); err != nil && i < 4 {
				t.Errorf("%s of %s: %v", path, kind, err)
			}
		}
	}
}

func TestPopulateFolderOfTheHost(t *testing.T) {
	t.Parallel()
	s, root, device := open(t), richImage(t), t.TempDir()
	v, _, err := s.Create(Spec{Name: "vol", DriverOpts: map[string]string{"type": "none", "o": "bind", "device": device}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Populate(t.Context(), v, root, "/srv/data"); err != nil {
		t.Fatal(err)
	}
	want := tree(t, filepath.Join(root, "srv/data"))
	if got := tree(t, device); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if err := s.Remove("vol"); err != nil {
		t.Error(err)
	}
	if tree(t, device) != want {
		t.Error("removing the volume changed the host's folder")
	}
}

// A copy that was complete when the engine died is moved in by the next Open, and
// what containers wrote meanwhile stays.
func TestOpenFinishesCopies(t *testing.T) {
	t.Parallel()
	s := open(t)
	v := create(t, s, "vol")
	ready := filepath.Join(s.dir, "vol", copyReady)
	write(t, filepath.Join(ready, "one"), "image")
	write(t, filepath.Join(ready, "two/three"), "image")
	if err := os.Chmod(ready, 0o711); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(v.Path, "one"), "container")
	if _, err := Open(s.dir); err != nil {
		t.Fatal(err)
	}
	if read(t, filepath.Join(v.Path, "one")) != "container" || read(t, filepath.Join(v.Path, "two/three")) != "image" {
		t.Error("wrong content")
	}
	if info, err := os.Stat(v.Path); err != nil || info.Mode().Perm() != 0o711 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if list, _ := os.ReadDir(filepath.Join(s.dir, "vol")); len(list) != 2 {
		t.Errorf("left behind: %v", list)
	}
}

// killAtStage runs TestPopulateSurvivesKill as a program and kills it when a folder has so many entries. It returns false when
// the program has ended before that was seen: a stage may last for less than a millisecond.
func killAtStage(t *testing.T, variable, folder string, entries int) bool {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestPopulateSurvivesKill$")
	cmd.Env = append(os.Environ(), variable)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	seen := func() bool {
		list, err := os.ReadDir(folder)
		return err == nil && len(list) >= entries
	}
	for {
		if seen() {
			_ = cmd.Process.Kill()
			<-ended
			return true
		}
		select {
		case <-ended:
			return seen()
		default:
		}
	}
}

// TestPopulateSurvivesKill runs itself as a program that fills a volume, kills it at
// different stages, and then expects all of the content from the next attempt.
func TestPopulateSurvivesKill(t *testing.T) {
	const variable = "TUTTI_TEST_POPULATE"
	if arg := os.Getenv(variable); arg != "" {
		dir, root, _ := strings.Cut(arg, "|")
		s, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		v, _, err := s.Create(Spec{Name: "vol"})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.PopulateLayers(t.Context(), v, []string{t.TempDir(), root}, "/srv/data"); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Parallel()
	root := richImage(t)
	for i := range 200 {
		write(t, filepath.Join(root, fmt.Sprintf("srv/data/%d/file", i)), strings.Repeat("x", 5000))
	}
	// The first line is the folder itself, whose time does not survive a crash between two moves.
	_, want, _ := strings.Cut(tree(t, filepath.Join(root, "srv/data")), "\n")
	dir := filepath.Join(t.TempDir(), "volumes")
	for _, stage := range []struct {
		folder  string
		entries int
	}{{"", 1}, {copyDraft, 0}, {copyDraft, 1}, {copyDraft, 100}, {copyReady, 0}, {dataDir, 1}, {dataDir, 100}} {
		for deadline := time.Now().Add(5 * time.Minute); !killAtStage(t, variable+"="+dir+"|"+root, filepath.Join(dir, "vol", stage.folder), stage.entries); {
			if time.Now().After(deadline) {
				t.Fatalf("stage %v was not seen", stage)
			}
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		}
		s, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		v, _, err := s.Create(Spec{Name: "vol"})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Populate(t.Context(), v, root, "/srv/data"); err != nil {
			t.Fatal(err)
		}
		if _, got, _ := strings.Cut(tree(t, v.Path), "\n"); got != want {
			t.Fatalf("killed at %v: the content differs", stage)
		}
		if err := s.Remove("vol"); err != nil {
			t.Fatal(err)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}
