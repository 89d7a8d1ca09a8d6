package main

import (
	"golang.org/x/sys/unix"

	"tutti/runtime/inroot"
	"tutti/runtime/wire"
)

// maxDepth bounds how deep folders of an image are copied.
const maxDepth = 128

// copyUp fills the tmpfs just mounted on m.Dest with what its mount point, below,
// holds ("tmpcopyup").
func (r *rootfs) copyUp(below int, m *wire.Mount) error {
	step := "copy " + m.Dest + " to its tmpfs"
	top, err := inroot.Open(r.fd, m.Dest, unix.O_RDONLY|unix.O_DIRECTORY, inroot.Resolve)
	if err != nil {
		return failed(step, err)
	}
	defer unix.Close(top) //nolint:errcheck // opened for reading
	from, err := unix.Openat(below, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err == nil {
		err = copyFolder(from, top, 0)
		_ = unix.Close(from)
	}
	if err != nil {
		return failed(step, err)
	}
	return nil
}

func copyFolder(from, to, depth int) error {
	if depth > maxDepth {
		return unix.ELOOP
	}
	buf := make([]byte, 8192)
	for {
		n, err := unix.ReadDirent(from, buf)
		if err != nil || n == 0 {
			return err
		}
		_, _, names := unix.ParseDirent(buf[:n], -1, nil)
		for _, name := range names {
			if err := copyEntry(from, to, name, depth); err != nil {
				return err
			}
		}
	}
}

// copyEntry copies one file, folder, link or FIFO with its owner and mode; sockets
// and devices of an image mean nothing in a tmpfs.
func copyEntry(from, to int, name string, depth int) error {
	var st unix.Stat_t
	if err := unix.Fstatat(from, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	var err error
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		err = copySubfolder(from, to, name, depth)
	case unix.S_IFREG:
		err = copyFile(from, to, name, st.Size)
	case unix.S_IFLNK:
		target := make([]byte, unix.PathMax)
		var n int
		if n, err = unix.Readlinkat(from, name, target); err == nil {
			err = unix.Symlinkat(string(target[:n]), to, name)
		}
	case unix.S_IFIFO:
		err = unix.Mknodat(to, name, unix.S_IFIFO|0o600, 0)
	default:
		return nil
	}
	if err != nil {
		return err
	}
	if err := unix.Fchownat(to, name, int(st.Uid), int(st.Gid), unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		return nil
	}
	return unix.Fchmodat(to, name, st.Mode&0o7777, 0) // after chown, which takes set-user-ID bits
}

func copySubfolder(from, to int, name string, depth int) error {
	if err := unix.Mkdirat(to, name, 0o700); err != nil {
		return err
	}
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	source, err := unix.Openat(from, name, flags, 0)
	if err != nil {
		return err
	}
	defer unix.Close(source) //nolint:errcheck // opened for reading
	target, err := unix.Openat(to, name, flags, 0)
	if err != nil {
		return err
	}
	defer unix.Close(target) //nolint:errcheck // opened for reading
	return copyFolder(source, target, depth+1)
}

func copyFile(from, to int, name string, size int64) error {
	source, err := unix.Openat(from, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(source) //nolint:errcheck // opened for reading
	target, err := unix.Openat(to, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	for size > 0 {
		n, err := unix.Sendfile(target, source, nil, int(min(size, 1<<30)))
		if err != nil && err != unix.EINTR {
			_ = unix.Close(target)
			return err
		}
		if n == 0 && err == nil {
			break // it shrank meanwhile
		}
		size -= int64(max(n, 0))
	}
	return unix.Close(target)
}
