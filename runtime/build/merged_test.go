package build

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/containerd/containerd/v2/core/mount"
	"golang.org/x/sys/unix"
)

func TestBuildMergedLayers(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	top, bottom := filepath.Join(root, "top"), filepath.Join(root, "bottom")
	folders := []string{
		bottom + "/etc", bottom + "/hidden/below", bottom + "/opaque/below", bottom + "/usr/lib", bottom + "/file-above",
		top + "/etc", top + "/opaque", top + "/shadow",
	}
	for _, dir := range folders {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{bottom + "/etc/hosts", bottom + "/shadow", bottom + "/file-above/x", top + "/etc/new"} {
		if err := os.WriteFile(file, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	links := map[string]string{bottom + "/lib": "usr/lib", bottom + "/abs": "/usr/lib/", bottom + "/loop": "loop", bottom + "/out": "../../etc", bottom + "/dangling": "/etc/none"}
	for name, target := range links {
		if err := os.Symlink(target, name); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mknod(top+"/hidden", unix.S_IFCHR, 0); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(top+"/file-above", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setxattr(top+"/opaque", "trusted.overlay.opaque", []byte("y"), 0); err != nil {
		t.Fatal(err)
	}
	all, upper := layersOf(mount.Mount{Type: "overlay", Options: []string{"index=off", "workdir=/w", "upperdir=" + top, "lowerdir=" + bottom}})
	if upper != top || !slices.Equal(all, layers{top, bottom}) {
		t.Fatalf("layers %q, upper %q", all, upper)
	}
	for name, want := range map[string]string{ // want "": something is there, or it cannot be made
		"/etc/hosts":            "",
		"/etc/new":              "",
		"/etc/resolv.conf":      "etc/resolv.conf",
		"/a/b/c":                "a/b/c",
		"/hidden":               "hidden",
		"/hidden/below":         "hidden/below",
		"/opaque/below":         "opaque/below",
		"/lib/new":              "usr/lib/new",
		"/abs/new/er":           "usr/lib/new/er",
		"/out/new":              "", // links cannot leave the root: this is /etc/new
		"/loop/x":               "",
		"/dangling":             "etc/none",
		"/shadow/x":             "shadow/x",
		"/file-above/x":         "",
		"/":                     "",
		"/etc/../usr/./lib/../": "",
	} {
		got, missing := all.missing(name)
		if got != want || missing != (want != "") {
			t.Errorf("missing(%q) = %q, %v; want %q", name, got, missing, want)
		}
	}
}
