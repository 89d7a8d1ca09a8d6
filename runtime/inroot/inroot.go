// Package inroot opens paths as a container sees them: from descriptors, by openat2(2), so that nothing that the container
// does meanwhile leads out of its root. It is part of the container's init and therefore small.
package inroot

import (
	"strings"

	"golang.org/x/sys/unix"
)

// Resolve is how every path inside a container is resolved, for nothing of an
// image may lead out of it: with RESOLVE_IN_ROOT, so that symbolic links and ".."
// end at the root, and with RESOLVE_NO_MAGICLINKS, so that /proc/*/fd and
// /proc/*/root lead nowhere.
const Resolve = unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS

// maxLinks is the kernel's own limit for symbolic links in one path.
const maxLinks = 40

// Open is openat2(2), again when it was interrupted. Errors are a unix.Errno.
func Open(root int, path string, flags uint64, resolve uint64) (int, error) {
	how := unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: resolve}
	for {
		fd, err := unix.Openat2(root, path, &how)
		// EAGAIN: a rename somewhere made the kernel unsure about "..".
		if err != unix.EAGAIN && err != unix.EINTR {
			return fd, err
		}
	}
}

// Path returns an O_PATH descriptor of an existing path inside root.
func Path(root int, path string) (int, error) {
	return Open(root, path, unix.O_PATH, Resolve)
}

// Make opens path inside root like Path and creates what is missing:
// folders with mode 0755 and, unless dir, a last component that is an empty file.
// created tells whether the last component is new.
func Make(root int, path string, dir bool) (fd int, created bool, err error) {
	fd, err = Path(root, path)
	if err != unix.ENOENT {
		return fd, false, err
	}
	if fd, err := makeLast(root, path, dir); err == nil {
		return fd, true, nil
	}
	w := walk{root: root, rest: splitPath(path), dir: dir}
	for len(w.rest) > 0 {
		if created, err = w.step(); err != nil {
			return -1, false, err
		}
	}
	fd, err = Open(root, w.prefix(), unix.O_PATH|unix.O_NOFOLLOW, Resolve)
	return fd, created, err
}

// makeLast is Make for the common case: only the last component is missing,
// and nothing stands in its place.
func makeLast(root int, path string, dir bool) (int, error) {
	i := strings.LastIndexByte(path, '/')
	name := path[i+1:]
	if name == "" || name == "." || name == ".." {
		return -1, unix.EINVAL
	}
	parent, err := Open(root, "/"+path[:i+1], unix.O_PATH|unix.O_DIRECTORY, Resolve)
	if err != nil {
		return -1, err
	}
	defer unix.Close(parent) //nolint:errcheck // O_PATH descriptor
	w := walk{dir: dir}
	if err := w.make(parent, name); err != nil {
		return -1, err // EEXIST: a link that leads nowhere, or somebody was faster
	}
	return Open(parent, name, unix.O_PATH|unix.O_NOFOLLOW, unix.RESOLVE_BENEATH)
}

// walk resolves a path component by component, following links to things that do
// not exist yet (which openat2 cannot) and creating those. done has no links in
// it, and every open starts again at root: a swap in between cannot lead outside.
type walk struct {
	root       int
	done, rest []string
	links      int
	dir        bool
}

func splitPath(path string) []string {
	var parts []string
	for p := range strings.SplitSeq(path, "/") {
		if p != "" && p != "." {
			parts = append(parts, p)
		}
	}
	return parts
}

func (w *walk) prefix() string { return "/" + strings.Join(w.done, "/") }

func (w *walk) step() (created bool, err error) {
	name := w.rest[0]
	w.rest = w.rest[1:]
	if name == ".." {
		w.done = w.done[:max(len(w.done)-1, 0)]
		return false, nil
	}
	parent, err := Open(w.root, w.prefix(), unix.O_PATH|unix.O_DIRECTORY, Resolve)
	if err != nil {
		return false, err
	}
	defer unix.Close(parent) //nolint:errcheck // O_PATH descriptor
	link := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(parent, name, link)
	switch err {
	case nil:
		if IsProc(parent) { // what it says is not where it leads
			return false, unix.ELOOP
		}
		return false, w.follow(string(link[:n]))
	case unix.EINVAL: // there, and no link
	case unix.ENOENT:
		if err := w.make(parent, name); err != nil && err != unix.EEXIST {
			return false, err
		}
		created = true
	default:
		return false, err
	}
	w.done = append(w.done, name)
	return created, nil
}

func (w *walk) follow(target string) error {
	if w.links++; w.links > maxLinks {
		return unix.ELOOP
	}
	if strings.HasPrefix(target, "/") {
		w.done = nil
	}
	w.rest = append(splitPath(target), w.rest...)
	return nil
}

func (w *walk) make(parent int, name string) error {
	if len(w.rest) > 0 || w.dir {
		return unix.Mkdirat(parent, name, 0o755)
	}
	fd, err := unix.Openat(parent, name, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o644)
	if err == nil {
		_ = unix.Close(fd)
	}
	return err
}

// Parent opens the folder that holds path inside root, creating it, and
// returns the last component.
func Parent(root int, path string) (fd int, name string, err error) {
	parts := splitPath(path)
	if len(parts) == 0 || parts[len(parts)-1] == ".." {
		return -1, "", unix.EINVAL
	}
	name = parts[len(parts)-1]
	fd, _, err = Make(root, "/"+strings.Join(parts[:len(parts)-1], "/"), true)
	return fd, name, err
}

// procMagic is PROC_SUPER_MAGIC of statfs(2).
const procMagic = 0x9fa0

// IsProc tells whether a descriptor is of procfs.
func IsProc(fd int) bool {
	var fs unix.Statfs_t
	return unix.Fstatfs(fd, &fs) == nil && fs.Type == procMagic
}
