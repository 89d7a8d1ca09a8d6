package build

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// TempDir is the folder for temporary files below a builder's Root. BuildKit mounts
// layers and secrets in the folder that $TMPDIR names, and has no option for it:
// the engine sets TMPDIR to this one, so that New finds and unmounts what an engine
// that was killed has left there.
func TempDir(root string) string { return filepath.Join(root, "tmp") }

// makeTempDir makes the folder anew. Nothing may be mounted in it.
func makeTempDir(root string) error {
	dir := TempDir(root)
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove temporary files of an earlier builder: %w", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("create folder for temporary files: %w", err)
	}
	return nil
}

// unmountLeftovers unmounts what a builder that was killed has left: mounts below
// the roots, and overlays of layers below them. It must run before anything below
// the roots is deleted, or the deletion would go through the mounts.
func unmountLeftovers(roots ...string) error {
	mounts, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) { return !isLeftover(m, roots), false })
	if err != nil {
		return fmt.Errorf("read mount table: %w", err)
	}
	for _, m := range slices.Backward(mounts) { // what was mounted last goes first
		if err := unix.Unmount(m.Mountpoint, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
			return fmt.Errorf("unmount %s: %w", m.Mountpoint, err)
		}
	}
	return nil
}

func isLeftover(m *mountinfo.Info, roots []string) bool {
	return slices.ContainsFunc(roots, func(root string) bool {
		inside := strings.HasPrefix(m.Mountpoint, root+"/")
		layers := m.FSType == "overlay" && strings.Contains(m.VFSOptions, "dir="+root+"/")
		return inside || layers
	})
}
