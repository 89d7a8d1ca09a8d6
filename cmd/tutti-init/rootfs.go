package main

import (
	"strings"

	"golang.org/x/sys/unix"

	"tutti/runtime/wire"
)

// rootfs is the container's root while it is being built.
type rootfs struct {
	fd   int // the root folder, O_PATH
	null int // the host's /dev/null, verified, O_PATH
}

// pageSize bounds the option string of mount(2); the smallest page there is.
const pageSize = 4096

// mountRoot makes the root file system on cfg.Root and returns its descriptor.
func mountRoot(cfg *wire.Config) (int, error) {
	if cfg.Outer {
		fd, err := unix.Open(cfg.Root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return -1, failed("open root "+cfg.Root, err)
		}
		return fd, nil
	}
	before := cfg.RootPropagation
	if before&unix.MS_UNBINDABLE != 0 { // the root is about to be bound
		before = unix.MS_PRIVATE | unix.MS_REC
	}
	if err := unix.Mount("", "/", "", uintptr(before), ""); err != nil {
		return -1, failed("set propagation of the host's mounts", err)
	}
	if cfg.RootPropagation&unix.MS_SHARED != 0 {
		// What is mounted on the root must not propagate back to the host.
		if err := privateParent(cfg.Root); err != nil {
			return -1, err
		}
	}
	if cfg.RootTree != 0 {
		return mountRootTree(cfg)
	}
	if len(cfg.RootMounts) == 0 {
		self := wire.Mount{Source: cfg.Root, Flags: unix.MS_BIND | unix.MS_REC}
		if err := mountOnHost(cfg.Root, &self); err != nil {
			return -1, failed("bind root "+cfg.Root, err)
		}
	}
	for i := range cfg.RootMounts {
		m := &cfg.RootMounts[i]
		if err := mountOnHost(cfg.Root, m); err != nil {
			return -1, failed("mount root file system ("+m.Type+") on "+cfg.Root, err)
		}
	}
	fd, err := unix.Open(cfg.Root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, failed("open root "+cfg.Root, err)
	}
	return fd, nil
}

// mountRootTree puts a root that the engine opened into this mount namespace: at its
// path, or if the user of this namespace cannot reach that, at a folder that
// everybody reaches. Where does not matter, the root is pivoted to.
func mountRootTree(cfg *wire.Config) (int, error) {
	tree := int(cfg.RootTree)
	target, err := unix.Open(cfg.Root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err == unix.EACCES {
		target, err = unix.Open("/sys", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		return -1, failed("open root "+cfg.Root, err)
	}
	defer unix.Close(target) //nolint:errcheck // O_PATH descriptor
	err = unix.MoveMount(tree, "", target, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
	if err != nil {
		return -1, failed("mount root "+cfg.Root, err)
	}
	return tree, nil
}

// privateParent makes the mount that holds path private: the mount point is
// the nearest ancestor on which mount(2) accepts a change of propagation.
func privateParent(path string) error {
	for {
		err := unix.Mount("", path, "", unix.MS_PRIVATE, "")
		if err == nil {
			return nil
		}
		if err != unix.EINVAL || path == "/" {
			return failed("make the mount of "+path+" private", err)
		}
		path = path[:strings.LastIndexByte(path, '/')]
		if path == "" {
			path = "/"
		}
	}
}

// mountOnHost mounts m on a folder that the engine owns.
func mountOnHost(target string, m *wire.Mount) error {
	if m.Type == "" {
		dst, err := unix.Open(target, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(dst) //nolint:errcheck // O_PATH descriptor
		tree, err := cloneTree(unix.AT_FDCWD, m.Source, m.Flags&unix.MS_REC != 0)
		if err != nil {
			return err
		}
		return attachBind(tree, dst, m)
	}
	if len(m.Data) < pageSize {
		return unix.Mount(m.Source, target, m.Type, uintptr(m.Flags), m.Data)
	}
	if m.Type != "overlay" {
		return unix.E2BIG
	}
	return mountLongOverlay(target, m)
}

// mountLongOverlay mounts an overlay whose options exceed a page: every lower
// folder is opened and named by its number, relative to /proc/self/fd.
func mountLongOverlay(target string, m *wire.Mount) error {
	options := strings.Split(m.Data, ",")
	for i, opt := range options {
		list, ok := strings.CutPrefix(opt, "lowerdir=")
		if !ok {
			continue
		}
		layers := strings.Split(list, ":")
		for j, layer := range layers {
			fd, err := unix.Open(layer, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
			if err != nil {
				return err
			}
			defer unix.Close(fd) //nolint:errcheck // O_PATH descriptor
			layers[j] = itoa(fd)
		}
		options[i] = "lowerdir=" + strings.Join(layers, ":")
	}
	data := strings.Join(options, ",")
	if len(data) >= pageSize {
		return unix.E2BIG
	}
	if err := unix.Chdir("/proc/self/fd"); err != nil {
		return err
	}
	return unix.Mount(m.Source, target, m.Type, uintptr(m.Flags), data)
}

// moveRoot makes the root the process's root where pivot_root(2) cannot: above a
// ramdisk. The host's file system stays below it, out of reach.
func (r *rootfs) moveRoot() error {
	if err := unix.Fchdir(r.fd); err != nil {
		return failed("enter root", err)
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return failed("move root", err)
	}
	return r.changeRoot()
}

// sharedRoot gives the root those kinds of propagation that pivot_root(2) and the
// mounts before it do not go with.
func sharedRoot(flags uint64) error {
	if flags&(unix.MS_SHARED|unix.MS_UNBINDABLE) == 0 {
		return nil
	}
	if err := unix.Mount("", "/", "", uintptr(flags&^unix.MS_REC), ""); err != nil {
		return failed("set propagation of the root", err)
	}
	return nil
}

// changeRoot only enters the root.
func (r *rootfs) changeRoot() error {
	if err := unix.Fchdir(r.fd); err != nil {
		return failed("enter root", err)
	}
	_ = unix.Close(r.fd)
	if err := unix.Chroot("."); err != nil {
		return failed("change root", err)
	}
	if err := unix.Chdir("/"); err != nil {
		return failed("enter the new root", err)
	}
	return nil
}

// pivot makes the root the process's root and lets go of the host's file system.
func (r *rootfs) pivot() error {
	old, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return failed("open the host's root", err)
	}
	if err := unix.Fchdir(r.fd); err != nil {
		return failed("enter root", err)
	}
	// pivot_root(2), "pivot_root(".", ".")": the old root is stacked on the new one.
	if err := unix.PivotRoot(".", "."); err != nil {
		return failed("pivot root", err)
	}
	if err := unix.Fchdir(old); err != nil {
		return failed("enter the host's root", err)
	}
	// The unmount must not propagate to the host.
	if err := unix.Mount("", ".", "", unix.MS_SLAVE|unix.MS_REC, ""); err != nil {
		return failed("detach the host's root", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return failed("unmount the host's root", err)
	}
	// No descriptor of the host's file system may be left when the working
	// directory is entered (CVE-2024-21626).
	_ = unix.Close(old)
	_ = unix.Close(r.fd)
	if err := unix.Chdir("/"); err != nil {
		return failed("enter the new root", err)
	}
	return nil
}
