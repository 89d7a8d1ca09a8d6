package build

import (
	"fmt"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

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
