package runtime

import (
	"errors"
	"fmt"
	"os"
	goruntime "runtime"

	"golang.org/x/sys/unix"
)

// A container without a mount namespace of its own has its mounts in that of the
// host, or in one that it is told to join, and is kept in its root by chroot(2)
// alone. Its root is mounted on itself first: with that one mount all others go.

// outerMount is that mount.
type outerMount struct {
	Path      string
	Namespace string // path of the mount namespace; empty: this process's
	ID        uint64 // of statx(2): never unmount another one
}

// makeOuter mounts the root on itself if the container shares its mount namespace.
func (c *Container) makeOuter(p *plan, rootMounts bool) error {
	if !p.sharesMounts {
		return nil
	}
	if rootMounts || p.inUserNS() {
		return errors.New("spec: a mount namespace of its own is required with a user namespace or a root that is to be mounted")
	}
	o := &outerMount{Path: p.config.Root, Namespace: p.mountNS}
	err := inMountNamespace(o.Namespace, func() error {
		if err := unix.Mount(o.Path, o.Path, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return err
		}
		if err := unix.Mount("", o.Path, "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
			return errors.Join(err, unix.Unmount(o.Path, unix.MNT_DETACH))
		}
		var err error
		o.ID, err = mountID(o.Path)
		return err
	})
	if err != nil {
		return fmt.Errorf("mount root %s on itself: %w", o.Path, err)
	}
	p.config.Outer = true
	c.state.Outer = o
	return nil
}

// removeOuter takes all mounts of such a container away. A namespace that is gone
// took them along.
func (c *Container) removeOuter() error {
	o := c.state.Outer
	if o == nil {
		return nil
	}
	err := inMountNamespace(o.Namespace, func() error {
		id, err := mountID(o.Path)
		if err != nil || id != o.ID {
			return err
		}
		return unix.Unmount(o.Path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	})
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("unmount root %s: %w", o.Path, err)
	}
	return nil
}

func mountID(path string) (uint64, error) {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_MNT_ID, &st); err != nil {
		return 0, err
	}
	return st.Mnt_id, nil
}

// inMountNamespace calls f in a mount namespace, on a thread that is used for
// nothing else afterwards; with an empty path right here.
func inMountNamespace(path string, f func() error) error {
	if path == "" {
		return f()
	}
	ns, err := os.Open(path)
	if err != nil {
		return err
	}
	defer ns.Close() //nolint:errcheck // opened for reading
	done := make(chan error)
	go func() {
		goruntime.LockOSThread() // never unlocked: the thread ends with the goroutine
		err := unix.Unshare(unix.CLONE_FS)
		if err == nil {
			err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNS)
		}
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}
