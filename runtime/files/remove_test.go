package files

import (
	"archive/tar"
	"context"
	"os"
	"path/filepath"
	"testing"
)

// What is removed is in the tree, whatever links there are in it.
func TestRemove(t *testing.T) {
	t.Parallel()
	outside, tree := room(t)
	root := tree.root.Name()
	for _, name := range []string{"a/b/c", "real/x", "plain", "kept", "folder/x"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(root, name), "x")
	}
	for name, target := range map[string]string{"link": "real", "out": outside, "up": "../../../../../../../../" + outside} {
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name   string
		spared FileKind
		gone   string // "" when nothing is
		fails  bool
	}{
		{name: "/a", gone: "a"},
		{name: "/a/b/c"},
		{name: "/link/x", gone: "real/x"},
		{name: "/link", gone: "link"},
		{name: "/plain/below"},
		{name: "/kept", spared: PlainKind},
		{name: "/plain", spared: FolderKind, gone: "plain"},
		{name: "/folder", spared: FolderKind},
		{name: "/folder", spared: PlainKind, gone: "folder"},
		{name: "/out/canary"},
		{name: "/up/canary"},
		{name: "/../../kept/..", fails: true},
		{name: "/", fails: true},
	} {
		err := tree.Remove(c.name, c.spared)
		if (err != nil) != c.fails {
			t.Errorf("%s: %v", c.name, err)
		}
		if _, err := os.Lstat(filepath.Join(root, c.gone)); c.gone != "" && err == nil {
			t.Errorf("%s: %s is still there", c.name, c.gone)
		}
	}
	for _, name := range []string{"kept", "real", "out", "up"} {
		if _, err := os.Lstat(filepath.Join(root, name)); err != nil {
			t.Error(err)
		}
	}
	checkCanary(t, outside)
}

// A folder of the archive that is a link to a folder stays that link.
func TestExtractThroughLinks(t *testing.T) {
	t.Parallel()
	_, tree := room(t)
	root := tree.root.Name()
	if err := os.MkdirAll(filepath.Join(root, "real"), 0o711); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/real", filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	archive := tarOf(t, member{name: "link/", kind: tar.TypeDir, mode: 0o700}, member{name: "link/x", data: "x"})
	if err := tree.Extract(context.Background(), archive, "/", ExtractOptions{KeepKind: true, Links: true, ThroughLinks: true}); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(filepath.Join(root, "link")); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is %v, %v", info, err)
	}
	if content, err := os.ReadFile(filepath.Join(root, "real/x")); err != nil || string(content) != "x" {
		t.Errorf("the file is %q, %v", content, err)
	}
	if info, err := os.Stat(filepath.Join(root, "real")); err != nil || info.Mode().Perm() != 0o711 {
		t.Errorf("the folder is %v, %v", info, err)
	}
}
