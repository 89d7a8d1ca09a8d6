package volumes

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// openIn opens a path below root as a container with that root sees it: symlinks,
// absolute ones too, lead at most to the root (openat2(2), RESOLVE_IN_ROOT).
func openIn(root *os.File, name string, flags int) (*os.File, error) {
	return openat2(root, name, flags, unix.RESOLVE_IN_ROOT|unix.RESOLVE_NO_MAGICLINKS)
}

// openBeneath opens a path below root and fails with EXDEV where a symlink or ".." leads out of it.
func openBeneath(root *os.File, name string, flags int) (*os.File, error) {
	return openat2(root, name, flags, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_MAGICLINKS)
}

// openPlain opens a path below root and fails with ELOOP where there is a symlink on the way.
func openPlain(root *os.File, name string, flags int) (*os.File, error) {
	return openat2(root, name, flags, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_SYMLINKS)
}

func openat2(root *os.File, name string, flags int, resolve uint64) (*os.File, error) {
	rel := strings.TrimPrefix(path.Clean("/"+name), "/")
	if rel == "" {
		rel = "."
	}
	how := &unix.OpenHow{Flags: uint64(flags | unix.O_CLOEXEC), Resolve: resolve} //nolint:gosec // flags are constants
	for {
		fd, err := unix.Openat2(int(root.Fd()), rel, how)
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN) { // EAGAIN: a rename elsewhere made the walk uncertain
			continue
		}
		runtime.KeepAlive(root)
		if err != nil {
			return nil, &os.PathError{Op: "open", Path: path.Join(root.Name(), rel), Err: err}
		}
		return os.NewFile(uintptr(fd), path.Join(root.Name(), rel)), nil
	}
}

// openDir opens a directory of the host.
func openDir(path string) (*os.File, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// openDirAt opens a directory by its name in another, never through a symlink.
func openDirAt(dir *os.File, name string) (*os.File, error) {
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path.Join(dir.Name(), name), Err: err}
	}
	return os.NewFile(uintptr(fd), path.Join(dir.Name(), name)), nil
}

// procPath names an entry of an open directory for calls that take only paths.
func procPath(dir *os.File, name string) string {
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), name)
}

// isEmpty says whether an open directory has no entries.
func isEmpty(dir *os.File) (bool, error) {
	again, err := openDirAt(dir, ".") // a position of its own
	if err != nil {
		return false, err
	}
	defer again.Close() //nolint:errcheck // read only
	_, err = again.Readdirnames(1)
	if errors.Is(err, io.EOF) {
		return true, nil
	}
	return false, err
}
