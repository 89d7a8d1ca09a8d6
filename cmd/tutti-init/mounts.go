package main

import (
	"errors"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"tutti/runtime/inroot"
	"tutti/runtime/wire"
)

func (r *rootfs) mountAll(mounts []wire.Mount) error {
	for i := range mounts {
		m := &mounts[i]
		var err error
		if m.Type == "" {
			err = r.bind(m)
		} else {
			err = r.mountType(m)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// bind mounts a file or folder of the host (or, with an absolute source, of
// whatever this mount namespace sees) at a path inside.
func (r *rootfs) bind(m *wire.Mount) error {
	step := "mount " + m.Source + " on " + m.Dest
	tree, err := sourceTree(m)
	if err != nil {
		return failed(step, err)
	}
	var st unix.Stat_t
	if err := unix.Fstatat(tree, "", &st, unix.AT_EMPTY_PATH); err != nil {
		return failed(step, err)
	}
	dst, _, err := r.target(m.Dest, st.Mode&unix.S_IFMT == unix.S_IFDIR)
	if err != nil {
		return failed(step, err)
	}
	defer unix.Close(dst) //nolint:errcheck // O_PATH descriptor
	if err := attachBind(tree, dst, m); err != nil {
		return failed(step, err)
	}
	return nil
}

// mountType mounts a new file system at a folder inside.
func (r *rootfs) mountType(m *wire.Mount) error {
	step := "mount " + m.Type + " on " + m.Dest
	dst, created, err := r.mountPoint(m)
	if err == unix.ELOOP {
		return refused(step, m.Dest+" of the image is a symbolic link")
	}
	if err != nil {
		return failed(step, err)
	}
	defer unix.Close(dst) //nolint:errcheck // O_PATH descriptor
	data := m.Data
	if m.Type == "tmpfs" && !created && !strings.Contains(data, "mode=") {
		mode, err := modeOf(dst) // a tmpfs over a folder of the image keeps its mode
		if err != nil {
			return failed(step, err)
		}
		data = strings.TrimPrefix(data+",mode="+strconv.FormatUint(uint64(mode), 8), ",")
	}
	if m.Propagation != 0 && fitsConfig(data) {
		err = attachFilesystem(m, data, dst)
	} else {
		err = mountAt(dst, m, data)
	}
	if err != nil {
		return failed(step, err)
	}
	if m.Subpath != "" {
		if err := r.narrow(m); err != nil {
			return failed("mount "+m.Subpath+" of the image on "+m.Dest, err)
		}
	}
	if m.CopyUp && !created {
		return r.copyUp(dst, m)
	}
	return nil
}

// mountAt mounts a new file system on an open folder. How the mount shares events is
// its parent's way: nothing is passed on.
func mountAt(dst int, m *wire.Mount, data string) error {
	if m.Type == "overlay" && len(data) >= pageSize {
		return mountLongOverlay("/proc/self/fd/"+itoa(dst), m)
	}
	// mount(2) takes no descriptor; "." is as good and cannot be swapped.
	if err := unix.Fchdir(dst); err != nil {
		return err
	}
	return unix.Mount(m.Source, ".", m.Type, uintptr(m.Flags), data)
}

// narrow puts what is at the subpath of the overlay that was just mounted over it.
func (r *rootfs) narrow(m *wire.Mount) error {
	whole, err := inroot.Open(r.fd, m.Dest, unix.O_PATH, inroot.Resolve)
	if err != nil {
		return err
	}
	defer unix.Close(whole) //nolint:errcheck // O_PATH descriptor
	part, err := inroot.Open(whole, m.Subpath, unix.O_PATH|unix.O_DIRECTORY, inroot.Resolve|unix.RESOLVE_NO_XDEV)
	if err != nil {
		return err
	}
	defer unix.Close(part) //nolint:errcheck // O_PATH descriptor
	tree, err := cloneTree(part, "", false)
	if err != nil {
		return err
	}
	return attachBind(tree, whole, &wire.Mount{Flags: m.Flags})
}

// maxConfig is the longest value that fsconfig(2) takes.
const maxConfig = 255

// fitsConfig tells whether every option can be set by fsconfig(2).
func fitsConfig(data string) bool {
	for o := range strings.SplitSeq(data, ",") {
		if len(o) > maxConfig {
			return false
		}
	}
	return true
}

// attachFilesystem mounts a new file system on target and sets its propagation by its descriptor: the path may lead
// elsewhere by then.
func attachFilesystem(m *wire.Mount, data string, target int) error {
	options := []string{"source=" + m.Source}
	for _, f := range [...]struct {
		flag   uint64
		option string
	}{{unix.MS_RDONLY, "ro"}, {unix.MS_SYNCHRONOUS, "sync"}, {unix.MS_DIRSYNC, "dirsync"}, {unix.MS_LAZYTIME, "lazytime"}} {
		if m.Flags&f.flag != 0 {
			options = append(options, f.option)
		}
	}
	for o := range strings.SplitSeq(data, ",") {
		if o != "" {
			options = append(options, o)
		}
	}
	fs, err := newFilesystem(m.Type, options, attributes(m.Flags))
	if err != nil {
		return err
	}
	defer unix.Close(fs) //nolint:errcheck // mount descriptor
	if err := unix.MoveMount(fs, "", target, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH); err != nil {
		return err
	}
	return setPropagation(fs, m.Propagation)
}

// target opens or makes what is to be mounted on. Links may lead anywhere inside the root but into procfs: what is
// written and masked there later must be the kernel's (CVE-2019-16884, CVE-2025-52881). A path that itself is one of
// /proc has been checked by the engine.
func (r *rootfs) target(path string, dir bool) (fd int, created bool, err error) {
	fd, created, err = inroot.Make(r.fd, path, dir)
	if err != nil || !inroot.IsProc(fd) || r.namesProcfs(path) {
		return fd, created, err
	}
	_ = unix.Close(fd)
	return -1, false, errProcfs
}

var errProcfs = errors.New("a link on the way leads into procfs")

func (r *rootfs) namesProcfs(path string) bool {
	if path != "/proc" && !strings.HasPrefix(path, "/proc/") {
		return false
	}
	proc, err := inroot.Open(r.fd, "/proc", unix.O_PATH|unix.O_DIRECTORY, inroot.Resolve|unix.RESOLVE_NO_SYMLINKS)
	if err != nil {
		return false
	}
	defer unix.Close(proc) //nolint:errcheck // O_PATH descriptor
	return inroot.IsProc(proc)
}

// mountPoint opens or makes the folder to mount on. An image whose /proc is a link
// could have later writes go elsewhere (CVE-2019-19921, CVE-2023-27561,
// CVE-2023-28642): for those the error is ELOOP.
func (r *rootfs) mountPoint(m *wire.Mount) (fd int, created bool, err error) {
	if m.Type == "proc" || m.Type == "sysfs" {
		fd, err = inroot.Open(r.fd, m.Dest, unix.O_PATH, inroot.Resolve|unix.RESOLVE_NO_SYMLINKS)
		if err != unix.ENOENT {
			return fd, false, err
		}
	}
	return r.target(m.Dest, true)
}

func modeOf(fd int) (uint32, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(fd, "", &st, unix.AT_EMPTY_PATH); err != nil {
		return 0, err
	}
	return st.Mode & 0o7777, nil
}

// cloneTree takes a copy of the mount at path that is attached nowhere yet.
func cloneTree(dir int, path string, recursive bool) (int, error) {
	flags := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC)
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	if path == "" {
		flags |= unix.AT_EMPTY_PATH
	}
	return unix.OpenTree(dir, path, flags)
}

// sourceTree is a copy of what a bind mounts, attached nowhere yet.
func sourceTree(m *wire.Mount) (int, error) {
	recursive := m.Flags&unix.MS_REC != 0
	if m.Tree != 0 {
		return int(m.Tree), nil
	}
	if m.Namespace == "" {
		return cloneTree(unix.AT_FDCWD, m.Source, recursive)
	}
	own, err := unix.Open("/proc/thread-self/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(own) //nolint:errcheck // opened for reading
	other, err := unix.Open(m.Namespace, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(other) //nolint:errcheck // opened for reading
	if err := unix.Setns(other, unix.CLONE_NEWNS); err != nil {
		return -1, err
	}
	tree := -1
	source, err := inroot.Open(unix.AT_FDCWD, m.Source, unix.O_PATH, inroot.Resolve|unix.RESOLVE_NO_SYMLINKS)
	if err == nil {
		tree, err = cloneTree(source, "", recursive)
		_ = unix.Close(source)
	}
	if back := unix.Setns(own, unix.CLONE_NEWNS); back != nil {
		err = back
	}
	if err != nil && tree >= 0 {
		_ = unix.Close(tree)
	}
	return tree, err
}

// attachBind sets the attributes of a detached tree, puts it on target and
// closes the tree's descriptor.
func attachBind(tree, target int, m *wire.Mount) error {
	defer unix.Close(tree) //nolint:errcheck // mount descriptor
	err := setAttributes(tree, attributes(m.Flags), false)
	late := err == unix.ENOSYS // before Linux 5.12: only once it is attached
	if err != nil && !late {
		return err
	}
	if m.Clear != 0 {
		if err := mountSetattr(tree, unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, clearing(m.Clear)); err != nil {
			return err
		}
	}
	if m.Recursive != 0 {
		if err := setAttributes(tree, attributes(m.Recursive), true); err != nil {
			return err
		}
	}
	err = unix.MoveMount(tree, "", target, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
	if err != nil {
		return err
	}
	if late {
		if err := remountBind(tree, m.Flags); err != nil {
			return err
		}
	}
	return setPropagation(tree, m.Propagation)
}

// remountBind is setAttributes for kernels without mount_setattr(2).
func remountBind(fd int, flags uint64) error {
	flags &^= unix.MS_REC
	return unix.Mount("", "/proc/self/fd/"+itoa(fd), "", uintptr(flags|unix.MS_BIND|unix.MS_REMOUNT), "")
}

// attributes translates flags of mount(2) to those of mount_setattr(2).
func attributes(flags uint64) uint64 {
	var attr uint64
	for _, f := range [...][2]uint64{
		{unix.MS_RDONLY, unix.MOUNT_ATTR_RDONLY},
		{unix.MS_NOSUID, unix.MOUNT_ATTR_NOSUID},
		{unix.MS_NODEV, unix.MOUNT_ATTR_NODEV},
		{unix.MS_NOEXEC, unix.MOUNT_ATTR_NOEXEC},
		{unix.MS_NODIRATIME, unix.MOUNT_ATTR_NODIRATIME},
		{unix.MS_NOATIME, unix.MOUNT_ATTR_NOATIME},
		{unix.MS_STRICTATIME, unix.MOUNT_ATTR_STRICTATIME},
		{unix.MS_NOSYMFOLLOW, unix.MOUNT_ATTR_NOSYMFOLLOW},
	} {
		if flags&f[0] != 0 {
			attr |= f[1]
		}
	}
	return attr
}

// clearing are the attributes that take flags away. Relative access times are what
// is left when no other kind is asked for.
func clearing(flags uint64) *unix.MountAttr {
	a := &unix.MountAttr{Attr_clr: attributes(flags)}
	if a.Attr_clr&(unix.MOUNT_ATTR_NOATIME|unix.MOUNT_ATTR_STRICTATIME) != 0 {
		a.Attr_clr |= unix.MOUNT_ATTR__ATIME
	}
	return a
}

// setAttributes adds attributes to the mount that fd is of.
func setAttributes(fd int, attr uint64, recursive bool) error {
	if attr == 0 {
		return nil
	}
	a := unix.MountAttr{Attr_set: attr}
	if attr&(unix.MOUNT_ATTR_NOATIME|unix.MOUNT_ATTR_STRICTATIME) != 0 {
		a.Attr_clr = unix.MOUNT_ATTR__ATIME
	}
	flags := uint(unix.AT_EMPTY_PATH)
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	return mountSetattr(fd, flags, &a)
}

func mountSetattr(fd int, flags uint, a *unix.MountAttr) error {
	return unix.MountSetattr(fd, "", flags, a)
}

// setPropagation sets how the mount that fd is of shares mount events; flags are
// MS_PRIVATE and such, with MS_REC for everything below it.
func setPropagation(fd int, flags uint64) error {
	if flags == 0 {
		return nil
	}
	at := uint(unix.AT_EMPTY_PATH)
	if flags&unix.MS_REC != 0 {
		at |= unix.AT_RECURSIVE
	}
	err := mountSetattr(fd, at, &unix.MountAttr{Propagation: flags &^ unix.MS_REC})
	if err == unix.ENOSYS {
		return unix.Mount("", "/proc/self/fd/"+itoa(fd), "", uintptr(flags), "")
	}
	return err
}

// newFilesystem makes a file system that is mounted nowhere and returns its
// mount descriptor. Options are "key" or "key=value", attributes MOUNT_ATTR_*.
func newFilesystem(fstype string, options []string, attributes uint64) (int, error) {
	ctx, err := unix.Fsopen(fstype, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, err
	}
	defer unix.Close(ctx) //nolint:errcheck // configuration descriptor
	for _, opt := range options {
		key, value, isPair := strings.Cut(opt, "=")
		if isPair {
			err = unix.FsconfigSetString(ctx, key, value)
		} else {
			err = unix.FsconfigSetFlag(ctx, key)
		}
		if err != nil {
			return -1, err
		}
	}
	if err := unix.FsconfigCreate(ctx); err != nil {
		return -1, err
	}
	return unix.Fsmount(ctx, unix.FSMOUNT_CLOEXEC, int(attributes)) //nolint:gosec // few bits
}
