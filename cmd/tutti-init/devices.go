package main

import (
	"golang.org/x/sys/unix"

	"tutti/runtime/inroot"
	"tutti/runtime/wire"
)

// devNull is the device number that /dev/null has on every Linux.
var devNull = unix.Mkdev(1, 3)

// openHostNull opens the host's /dev/null, which masks files of the container, and
// verifies that it is what its name says (CVE-2025-31133).
func openHostNull() (int, error) {
	fd, err := unix.Open("/dev/null", unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, failed("open /dev/null", err)
	}
	if !isDevice(fd, devNull) {
		return -1, refused("open /dev/null", "not the null device")
	}
	return fd, nil
}

func isDevice(fd int, dev uint64) bool {
	var st unix.Stat_t
	err := unix.Fstatat(fd, "", &st, unix.AT_EMPTY_PATH)
	return err == nil && st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == dev
}

// makeDevices fills the container's /dev. A /dev that is a bind mount is left as it is.
func (r *rootfs) makeDevices(cfg *wire.Config) error {
	if !cfg.MakeDev {
		return nil
	}
	defer unix.Umask(unix.Umask(0)) // nodes get exactly their mode
	for i := range cfg.Devices {
		if err := r.makeDevice(&cfg.Devices[i]); err != nil {
			return err
		}
	}
	for _, l := range cfg.Links {
		dir, name, err := inroot.Parent(r.fd, l.Path)
		if err == nil {
			err = unix.Symlinkat(l.Target, dir, name)
			_ = unix.Close(dir)
		}
		if err != nil && err != unix.EEXIST {
			return failed("make link "+l.Path, err)
		}
	}
	return nil
}

func (r *rootfs) makeDevice(d *wire.Device) error {
	step := "make device " + d.Path
	dir, name, err := inroot.Parent(r.fd, d.Path)
	if err != nil {
		return failed(step, err)
	}
	defer unix.Close(dir) //nolint:errcheck // O_PATH descriptor
	err = unix.Mknodat(dir, name, d.Mode, int(d.Dev))
	if err == unix.EPERM {
		return r.bindDevice(d) // in a user namespace, or without the right to
	}
	if err == unix.EEXIST {
		return sameDevice(dir, name, d, step)
	}
	if err == nil && (d.UID != 0 || d.GID != 0) {
		err = unix.Fchownat(dir, name, int(d.UID), int(d.GID), unix.AT_SYMLINK_NOFOLLOW)
	}
	if err != nil {
		return failed(step, err)
	}
	return nil
}

// sameDevice accepts a node that is there already when it is the same device.
func sameDevice(dir int, name string, d *wire.Device, step string) error {
	var st unix.Stat_t
	if err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return failed(step, err)
	}
	if st.Mode&unix.S_IFMT != d.Mode&unix.S_IFMT || st.Rdev != d.Dev {
		return refused(step, "the path is taken by something else")
	}
	return nil
}

func (r *rootfs) bindDevice(d *wire.Device) error {
	return r.bind(&wire.Mount{Source: d.Path, Dest: d.Path, Flags: unix.MS_BIND | unix.MS_NOSUID | unix.MS_NOEXEC})
}

// protect masks and write-protects paths of the container, and the root itself.
func (r *rootfs) protect(cfg *wire.Config) error {
	for _, path := range cfg.ReadonlyMounts {
		if err := r.readonlyMount(path); err != nil {
			return failed("make "+path+" read-only", err)
		}
	}
	for _, path := range cfg.Readonly {
		if err := r.readonlyPath(path); err != nil {
			return failed("make "+path+" read-only", err)
		}
	}
	if err := r.maskAll(cfg.Masked); err != nil {
		return err
	}
	if cfg.RootReadonly {
		root, err := unix.Openat(r.fd, ".", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err == nil {
			err = addReadonly(root)
			_ = unix.Close(root)
		}
		if err != nil {
			return failed("make the root read-only", err)
		}
	}
	return nil
}

// addReadonly makes the mount that fd is the top of read-only and keeps its other flags.
func addReadonly(fd int) error {
	err := setAttributes(fd, unix.MOUNT_ATTR_RDONLY, false)
	if err != unix.ENOSYS {
		return err
	}
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil {
		return err
	}
	keep := uint64(st.Flags) & (unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_NOATIME | unix.MS_NODIRATIME)
	return remountBind(fd, keep|unix.MS_RDONLY)
}

func (r *rootfs) readonlyMount(path string) error {
	fd, err := inroot.Path(r.fd, path)
	if err != nil {
		return err
	}
	defer unix.Close(fd) //nolint:errcheck // O_PATH descriptor
	return addReadonly(fd)
}

// readonlyPath puts a read-only copy of a path's mount over the path. A path that
// does not exist needs no protection.
func (r *rootfs) readonlyPath(path string) error {
	target, err := inroot.Path(r.fd, path)
	if err == unix.ENOENT {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(target) //nolint:errcheck // O_PATH descriptor
	tree, err := cloneTree(target, "", true)
	if err != nil {
		return err
	}
	return attachBind(tree, target, &wire.Mount{Flags: unix.MS_RDONLY})
}

// maskAll hides files behind /dev/null and folders behind an empty read-only
// tmpfs. One tmpfs serves all: a second superblock would cost more than the mount.
func (r *rootfs) maskAll(paths []string) error {
	empty := -1 // the tmpfs, once it is mounted on the first folder
	defer func() {
		if empty >= 0 {
			_ = unix.Close(empty)
		}
	}()
	for _, path := range paths {
		target, err := inroot.Path(r.fd, path)
		if err == unix.ENOENT || err == unix.ENOTDIR {
			continue
		}
		if err == nil {
			err = r.mask(target, &empty)
			_ = unix.Close(target)
		}
		if err != nil {
			return failed("mask "+path, err)
		}
	}
	return nil
}

func (r *rootfs) mask(target int, empty *int) error {
	var st unix.Stat_t
	if err := unix.Fstatat(target, "", &st, unix.AT_EMPTY_PATH); err != nil {
		return err
	}
	with := r.null
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		with = *empty
	}
	if with < 0 {
		var err error
		if *empty, err = newFilesystem("tmpfs", []string{"ro", "nr_inodes=2", "size=0k"}, 0); err != nil {
			return err
		}
		return unix.MoveMount(*empty, "", target, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
	}
	// Only what is mounted somewhere can be cloned before Linux 6.15.
	tree, err := cloneTree(with, "", false)
	if err != nil {
		return err
	}
	return attachBind(tree, target, &wire.Mount{Flags: unix.MS_RDONLY})
}
