// Package files is what goes into a container's file system from outside and what leaves it: single files and folders (cp),
// all of it (export), what has changed (diff, commit).
//
// A container may change its files at any moment, and with malice: whatever is opened is opened from descriptors, by
// openat2(2) with RESOLVE_IN_ROOT, and never by a path joined on the host; nothing of the container is executed or loaded
// (CVE-2018-15664, CVE-2019-14271, CVE-2026-42306). Only regular files are read, for a device may do anything when it is
// opened, and a pipe may never answer.
package files

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"tutti/runtime/inroot"
)

// maxDepth bounds how deep folders are nested: each keeps a descriptor open.
const maxDepth = 1000

// maxLinks is the kernel's own limit for symbolic links in one path.
const maxLinks = 40

// ErrTooDeep means that folders are nested deeper than is taken.
var ErrTooDeep = errors.New("folders are nested too deep")

// Tree is a file system, seen from its root.
type Tree struct {
	root *os.File
}

// OpenFolder opens a folder of the host as a tree.
func OpenFolder(path string) (*Tree, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return &Tree{root: os.NewFile(uintptr(fd), path)}, nil
}

// Close lets go of the tree.
func (t *Tree) Close() error { return t.root.Close() }

func (t *Tree) fd() int { return int(t.root.Fd()) }

// Info describes a file as docker does for whoever copies it.
type Info struct {
	Name       string // the last part of the path that was asked for
	Size       int64
	Mode       os.FileMode
	Mtime      time.Time
	LinkTarget string // of a symbolic link: where it leads at last, an absolute path in the tree
}

// Stat describes what is at a path of the tree. Links on the way are followed, and one at the end only if "/" or "/."
// follows it. The error is an fs.PathError.
func (t *Tree) Stat(name string) (Info, error) {
	fd, err := t.open(name)
	if err != nil {
		return Info{}, err
	}
	defer unix.Close(fd) //nolint:errcheck // O_PATH descriptor
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return Info{}, &fs.PathError{Op: "stat", Path: name, Err: err}
	}
	info := Info{Name: path.Base(absolute(name)), Size: st.Size, Mode: fileMode(st.Mode), Mtime: time.Unix(st.Mtim.Sec, st.Mtim.Nsec)}
	if strings.HasSuffix(name, "/.") || name == "." {
		info.Name = "."
	}
	if info.Mode&os.ModeSymlink != 0 {
		info.LinkTarget = t.Resolve(name)
	}
	return info, nil
}

// absolute is a path of the tree from its root on, without "..".
func absolute(name string) string { return path.Clean("/" + name) }

// open opens what is at a path with O_PATH, see Stat.
func (t *Tree) open(name string) (int, error) {
	flags := uint64(unix.O_PATH)
	if strings.HasSuffix(name, "/") || strings.HasSuffix(name, "/.") || name == "." {
		flags |= unix.O_DIRECTORY
	} else {
		flags |= unix.O_NOFOLLOW
	}
	fd, err := inroot.Open(t.fd(), absolute(name), flags, inroot.Resolve)
	if err != nil {
		return -1, &fs.PathError{Op: "lstat", Path: absolute(name), Err: err}
	}
	return fd, nil
}

// Resolve follows every link of a path and returns an absolute path of the tree without any, or what there would be if
// something on the way is missing.
func (t *Tree) Resolve(name string) string {
	var done []string
	rest := strings.Split(absolute(name), "/")
	for links := 0; len(rest) > 0; {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			done = done[:max(0, len(done)-1)]
			continue
		}
		target, err := t.readlink("/"+strings.Join(done, "/"), part)
		if links++; err != nil || links > maxLinks {
			done = append(done, part)
			continue
		}
		if path.IsAbs(target) {
			done = nil
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return "/" + strings.Join(done, "/")
}

func (t *Tree) readlink(dir, name string) (string, error) {
	fd, err := inroot.Open(t.fd(), dir, unix.O_PATH|unix.O_DIRECTORY, inroot.Resolve)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd) //nolint:errcheck // O_PATH descriptor
	return readlinkAt(fd, name)
}

func readlinkAt(dir int, name string) (string, error) {
	buffer := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(dir, name, buffer)
	if err != nil {
		return "", err
	}
	return string(buffer[:n]), nil
}

// fileMode translates the mode of stat(2).
func fileMode(mode uint32) os.FileMode {
	m := os.FileMode(mode & 0o777)
	for _, b := range [...]struct {
		bit  uint32
		mode os.FileMode
	}{{unix.S_ISUID, os.ModeSetuid}, {unix.S_ISGID, os.ModeSetgid}, {unix.S_ISVTX, os.ModeSticky}} {
		if mode&b.bit != 0 {
			m |= b.mode
		}
	}
	switch mode & unix.S_IFMT {
	case unix.S_IFDIR:
		m |= os.ModeDir
	case unix.S_IFLNK:
		m |= os.ModeSymlink
	case unix.S_IFIFO:
		m |= os.ModeNamedPipe
	case unix.S_IFSOCK:
		m |= os.ModeSocket
	case unix.S_IFCHR:
		m |= os.ModeDevice | os.ModeCharDevice
	case unix.S_IFBLK:
		m |= os.ModeDevice
	}
	return m
}

// kernel are the file systems in which there is nothing to copy: what is read there is made while it is read, and may
// never end. The numbers are statfs(2)'s.
var kernel = map[int64]string{
	unix.PROC_SUPER_MAGIC: "proc", unix.SYSFS_MAGIC: "sysfs", unix.CGROUP_SUPER_MAGIC: "cgroup", unix.CGROUP2_SUPER_MAGIC: "cgroup2",
	unix.DEVPTS_SUPER_MAGIC: "devpts", unix.DEBUGFS_MAGIC: "debugfs", unix.TRACEFS_MAGIC: "tracefs", unix.SECURITYFS_MAGIC: "securityfs",
	unix.BPF_FS_MAGIC: "bpf", unix.SELINUX_MAGIC: "selinuxfs", unix.EFIVARFS_MAGIC: "efivarfs", unix.BINFMTFS_MAGIC: "binfmt_misc",
	0x19800202: "mqueue",
}

// kernelOf names the file system of a descriptor if it is one of the kernel's, else "".
func kernelOf(fd int) string {
	var st unix.Statfs_t
	if unix.Fstatfs(fd, &st) != nil {
		return ""
	}
	return kernel[int64(st.Type)] //nolint:unconvert // 32 bits wide on some platforms
}

// self is the path by which this process reaches the object of a descriptor, O_PATH or not, and nothing else.
func self(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// list reads the names in a folder given as an O_PATH descriptor.
func list(dir int) ([]string, error) {
	fd, err := unix.Openat(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), ".")
	defer f.Close() //nolint:errcheck // opened for reading
	return f.Readdirnames(-1)
}

// OpenFile opens a regular file of the tree for reading; links are followed.
func (t *Tree) OpenFile(name string) (*os.File, error) {
	fd, err := inroot.Open(t.fd(), absolute(name), unix.O_PATH, inroot.Resolve)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: absolute(name), Err: err}
	}
	defer unix.Close(fd) //nolint:errcheck // O_PATH descriptor
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, &fs.PathError{Op: "open", Path: absolute(name), Err: errors.Join(err, errors.New("not a regular file"))}
	}
	from, err := unix.Open(self(fd), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: absolute(name), Err: err}
	}
	return os.NewFile(uintptr(from), absolute(name)), nil
}

// Mounted tells whether a path leads into something that is mounted in the tree.
func (t *Tree) Mounted(name string) (bool, error) {
	fd, err := inroot.Open(t.fd(), absolute(name), unix.O_PATH, inroot.Resolve)
	if err != nil {
		return false, &fs.PathError{Op: "open", Path: absolute(name), Err: err}
	}
	_ = unix.Close(fd)
	fd, err = inroot.Open(t.fd(), t.Resolve(name), unix.O_PATH, inroot.Resolve|unix.RESOLVE_NO_XDEV)
	if errors.Is(err, unix.EXDEV) {
		return true, nil
	}
	if err != nil {
		return false, &fs.PathError{Op: "open", Path: absolute(name), Err: err}
	}
	return false, unix.Close(fd)
}
