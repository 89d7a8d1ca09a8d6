package image

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// TempDir is the folder for temporary files of the store in root. containerd and
// BuildKit mount layers and secrets in the folder that $TMPDIR names when the
// process starts, and have no other option for it: start the engine with TMPDIR set
// to this one, so that Open can clean up after an engine that was killed.
func TempDir(root string) string { return filepath.Join(root, "tmp") }

// removeLeftovers unmounts everything below root and every overlay of its layers,
// then empties TempDir: in this order, or the deletion would go through the mounts.
// Nobody else may use the store.
func removeLeftovers(root string) error {
	err := unmount(func(m *mountinfo.Info) bool {
		return isBelow(m, root) || m.FSType == "overlay" && strings.Contains(m.VFSOptions, "="+root+"/")
	})
	if err != nil {
		return err
	}
	if err := os.RemoveAll(TempDir(root)); err != nil {
		return fmt.Errorf("remove temporary files: %w", err)
	}
	if err := os.Mkdir(TempDir(root), 0o700); err != nil {
		return fmt.Errorf("create folder for temporary files: %w", err)
	}
	return nil
}

// UnmountBelow unmounts everything that is mounted below a folder.
func UnmountBelow(root string) error {
	return unmount(func(m *mountinfo.Info) bool { return isBelow(m, root) })
}

func isBelow(m *mountinfo.Info, root string) bool { return strings.HasPrefix(m.Mountpoint, root+"/") }

func unmount(unwanted func(*mountinfo.Info) bool) error {
	mounts, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) { return !unwanted(m), false })
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
