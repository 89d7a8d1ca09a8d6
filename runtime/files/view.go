package files

import (
	"errors"
	"fmt"
	"os"
	"path"
	goruntime "runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"tutti/runtime/inroot"
)

// Of returns the file system that a process sees, with everything that is mounted in it. Whoever calls it makes sure that
// the process is the one that is meant, after the call: if it lives still, its number was not another's.
func Of(pid int) (*Tree, error) {
	return OpenFolder("/proc/" + strconv.Itoa(pid) + "/root")
}

// RootOf is Of without what is mounted in the root: the container's own layer over its image. The mount is a copy that is
// mounted nowhere; it goes with the tree.
func RootOf(pid int) (*Tree, error) {
	var root *os.File
	err := onThread(func() error {
		ns, err := unix.Open("/proc/"+strconv.Itoa(pid)+"/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("open the mount namespace of process %d: %w", pid, err)
		}
		defer unix.Close(ns) //nolint:errcheck // opened for reading
		// A mount namespace is entered by a thread that shares its root and working directory with no other.
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			return err
		}
		if err := unix.Setns(ns, unix.CLONE_NEWNS); err != nil {
			return fmt.Errorf("enter the mount namespace of process %d: %w", pid, err)
		}
		fd, err := unix.OpenTree(unix.AT_FDCWD, "/", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
		if err != nil {
			return fmt.Errorf("copy the root mount of process %d: %w", pid, err)
		}
		root = os.NewFile(uintptr(fd), "root")
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &Tree{root: root}, nil
}

// onThread runs f on a thread that ends with it, whatever namespaces f enters.
func onThread(f func() error) error {
	done := make(chan error)
	go func() {
		goruntime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if unix.Gettid() != unix.Getpid() {
			done <- f()
			return
		}
		// The process's first thread would not end but stay in the namespace: hold it while another one does the work.
		defer goruntime.UnlockOSThread()
		done <- onThread(f)
	}()
	return <-done
}

// Layers are the folders of an overlay (Documentation/filesystems/overlayfs.rst).
type Layers struct {
	Lower       []string // topmost first, at least one
	Upper, Work string   // "" and "": read only
}

// View is a file system that was mounted in order to be looked at, in a mount namespace of a thread that waits for the end:
// the host's mount table never shows it, and a crash leaves nothing.
type View struct {
	*Tree
	end  chan struct{}
	done chan error
}

// Mount mounts layers, and on top the binds that a container would have mounted; a tmpfs, a device or an image would be
// another mount than the container's. point is any folder of the host, which only the thread sees covered. Nobody else may
// have the upper folder mounted until Close.
func Mount(l Layers, mounts []specs.Mount, point string) (*View, error) {
	v := &View{end: make(chan struct{}), done: make(chan error, 1)}
	ready := make(chan error, 1)
	go func() {
		v.done <- onThread(func() error {
			var err error
			v.Tree, err = assemble(l, mounts, point)
			ready <- err
			if err != nil {
				return err
			}
			<-v.end
			return unix.Unmount(point, unix.MNT_DETACH)
		})
	}()
	if err := <-ready; err != nil {
		return nil, <-v.done // the same error, once the thread has ended
	}
	return v, nil
}

// Close unmounts the view; the upper folder is free then.
func (v *View) Close() error {
	err := v.Tree.Close()
	close(v.end)
	return errors.Join(err, <-v.done)
}

// assemble makes the view in a mount namespace of the calling thread's own.
func assemble(l Layers, mounts []specs.Mount, point string) (_ *Tree, err error) {
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		return nil, fmt.Errorf("new mount namespace: %w", err)
	}
	// What the host unmounts goes here, too.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return nil, fmt.Errorf("keep mounts from the host: %w", err)
	}
	if err := mountOverlay(l, point); err != nil {
		return nil, fmt.Errorf("mount the container's layers: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, unix.Unmount(point, unix.MNT_DETACH))
		}
	}()
	t, err := OpenFolder(point)
	if err != nil {
		return nil, err
	}
	for _, m := range mounts {
		if err := t.mount(m); err != nil {
			return nil, errors.Join(fmt.Errorf("mount %s: %w", m.Destination, err), t.Close())
		}
	}
	return t, nil
}

// mountOverlay names the layers by descriptors: the options must fit a page.
func mountOverlay(l Layers, point string) error {
	var opened []int
	defer func() {
		for _, fd := range opened {
			_ = unix.Close(fd)
		}
	}()
	var names []string
	for _, folder := range append(slices.Clip(l.Lower), l.Upper, l.Work) {
		if folder == "" {
			continue
		}
		fd, err := unix.Open(folder, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("open layer %s: %w", folder, err)
		}
		opened = append(opened, fd)
		names = append(names, strconv.Itoa(fd))
	}
	lower := len(l.Lower)
	options := "lowerdir=" + strings.Join(names[:lower], ":")
	flags := uintptr(unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC)
	if l.Upper == "" {
		flags |= unix.MS_RDONLY
	} else {
		options += ",upperdir=" + names[lower] + ",workdir=" + names[lower+1]
	}
	if err := unix.Chdir("/proc/thread-self/fd"); err != nil {
		return err
	}
	return unix.Mount("overlay", point, "overlay", flags, options)
}

// mount puts one mount of a container into the view.
func (t *Tree) mount(m specs.Mount) error {
	tree, isDir, err := source(m)
	if err != nil || tree < 0 {
		return err
	}
	defer unix.Close(tree) //nolint:errcheck // mount descriptor
	target, _, err := inroot.Make(t.fd(), m.Destination, isDir)
	if err != nil {
		return fmt.Errorf("make the place: %w", err)
	}
	defer unix.Close(target) //nolint:errcheck // O_PATH descriptor
	return unix.MoveMount(tree, "", target, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
}

// source is a copy of what is to be mounted, attached nowhere; -1 for what is left out.
func source(m specs.Mount) (tree int, isDir bool, err error) {
	bind := slices.Contains(m.Options, "bind") || slices.Contains(m.Options, "rbind") || m.Type == "bind"
	if !bind {
		return -1, false, nil
	}
	from, err := inroot.Open(unix.AT_FDCWD, path.Clean(m.Source), unix.O_PATH, unix.RESOLVE_NO_SYMLINKS)
	if errors.Is(err, unix.ENOENT) {
		return -1, false, nil // it has gone, or is made when the container is started
	}
	if err != nil {
		return -1, false, fmt.Errorf("open %s: %w", m.Source, err)
	}
	defer unix.Close(from) //nolint:errcheck // O_PATH descriptor
	var st unix.Stat_t
	if err := unix.Fstat(from, &st); err != nil {
		return -1, false, err
	}
	flags := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC | unix.AT_EMPTY_PATH)
	if slices.Contains(m.Options, "rbind") {
		flags |= unix.AT_RECURSIVE
	}
	if tree, err = unix.OpenTree(from, "", flags); err != nil {
		return -1, false, err
	}
	if err := protect(tree, m.Options); err != nil {
		return -1, false, errors.Join(err, unix.Close(tree))
	}
	return tree, st.Mode&unix.S_IFMT == unix.S_IFDIR, nil
}

// protect makes a tree read-only if its options say so.
func protect(tree int, options []string) error {
	flags := uint(unix.AT_EMPTY_PATH)
	switch {
	case slices.Contains(options, "rro"):
		flags |= unix.AT_RECURSIVE
	case !slices.Contains(options, "ro"):
		return nil
	}
	err := unix.MountSetattr(tree, "", flags, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
	if errors.Is(err, unix.ENOSYS) { // before Linux 5.12
		return unix.Mount("", self(tree), "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, "")
	}
	return err
}
