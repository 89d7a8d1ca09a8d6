package volumes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// maxDepth bounds the nesting of copied directories, each of which keeps two
// descriptors open. Unpacked layers cannot come near it: paths end at 4,096 bytes.
const maxDepth = 1024

// copyChunk is how much of a file is copied between two looks at the context.
const copyChunk = 64 << 20

// copier copies a tree with everything that belongs to it: owners, modes, times,
// extended attributes (file capabilities, ACLs), symlinks, hard links, holes, devices,
// pipes and sockets, which docker keeps too. All is done relative to open
// directories, and no symlink is followed.
type copier struct {
	ctx  context.Context //nolint:containedctx // of one call of copyTree
	root *os.File        // the target
	// layer: the source is an unpacked layer and not an overlay: whiteouts are left out.
	layer bool
	links map[inode]string // files with several names, by where they were put below root
}

type inode struct{ dev, ino uint64 }

// copyTree copies what is in the directory src, and its own attributes, to the empty directory dst.
func copyTree(ctx context.Context, dst, src *os.File, layer bool) error {
	c := &copier{ctx: ctx, root: dst, layer: layer, links: map[inode]string{}}
	if err := c.entries(dst, src, ""); err != nil {
		return err
	}
	return copyAttributes(dst, src)
}

func (c *copier) entries(dst, src *os.File, rel string) error {
	if strings.Count(rel, "/") > maxDepth {
		return fmt.Errorf("%s: directories are nested too deep", src.Name())
	}
	names, err := src.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		if err := c.entry(dst, src, name, path.Join(rel, name)); err != nil {
			return fmt.Errorf("copy %s: %w", path.Join("/", rel, name), err)
		}
	}
	return nil
}

func (c *copier) entry(dst, src *os.File, name, rel string) error {
	var st unix.Stat_t
	if err := unix.Fstatat(int(src.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	kind := st.Mode & unix.S_IFMT
	if c.layer && kind == unix.S_IFCHR && st.Rdev == 0 {
		return nil
	}
	if kind == unix.S_IFDIR {
		return c.directory(dst, src, name, rel)
	}
	if st.Nlink > 1 {
		id := inode{st.Dev, st.Ino}
		if first, ok := c.links[id]; ok {
			return unix.Linkat(int(c.root.Fd()), first, int(dst.Fd()), name, 0)
		}
		c.links[id] = rel
	}
	var err error
	switch kind {
	case unix.S_IFREG:
		err = c.file(dst, src, name, &st)
	case unix.S_IFLNK:
		err = copySymlink(dst, src, name, st.Size)
	default:
		err = unix.Mknodat(int(dst.Fd()), name, st.Mode, int(st.Rdev)) //nolint:gosec // device numbers are 32 bits wide
	}
	if err != nil {
		return err
	}
	return copyEntryAttributes(procPath(dst, name), procPath(src, name), &st)
}

func (c *copier) directory(dst, src *os.File, name, rel string) error {
	if err := unix.Mkdirat(int(dst.Fd()), name, 0o700); err != nil {
		return err
	}
	from, err := openDirAt(src, name)
	if err != nil {
		return err
	}
	defer from.Close() //nolint:errcheck // read only
	to, err := openDirAt(dst, name)
	if err != nil {
		return err
	}
	defer to.Close() //nolint:errcheck // a directory
	if err := c.entries(to, from, rel); err != nil {
		return err
	}
	return copyAttributes(to, from) // behind the entries, which change its time
}

func (c *copier) file(dst, src *os.File, name string, st *unix.Stat_t) error {
	fd, err := unix.Openat(int(src.Fd()), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	from := os.NewFile(uintptr(fd), name)
	defer from.Close() //nolint:errcheck // read only
	fd, err = unix.Openat(int(dst.Fd()), name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	to := os.NewFile(uintptr(fd), name)
	if st.Blocks*512 < st.Size {
		err = c.sparse(to, from, st.Size)
	} else {
		err = c.data(to, from, st.Size)
	}
	return errors.Join(err, to.Close())
}

// data copies n bytes at the files' positions; the standard library uses copy_file_range(2).
func (c *copier) data(to, from *os.File, n int64) error {
	for n > 0 {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		done, err := io.CopyN(to, from, min(n, copyChunk))
		ended := errors.Is(err, io.EOF) // the file became shorter
		if err != nil && !ended {
			return err
		}
		if n -= done; ended {
			return nil
		}
	}
	return nil
}

// sparse copies a file with holes (lseek(2), SEEK_DATA).
func (c *copier) sparse(to, from *os.File, size int64) error {
	for at := int64(0); at < size; {
		start, err := from.Seek(at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break // nothing but a hole up to the end
		}
		if err != nil {
			return err
		}
		end, err := from.Seek(start, unix.SEEK_HOLE)
		if err != nil {
			return err
		}
		for _, f := range []*os.File{from, to} {
			if _, err := f.Seek(start, io.SeekStart); err != nil {
				return err
			}
		}
		if err := c.data(to, from, end-start); err != nil {
			return err
		}
		at = end
	}
	return to.Truncate(size)
}

func copySymlink(dst, src *os.File, name string, size int64) error {
	buf := make([]byte, size+1)
	n, err := unix.Readlinkat(int(src.Fd()), name, buf)
	if err != nil {
		return err
	}
	return unix.Symlinkat(string(buf[:n]), int(dst.Fd()), name)
}

// copyAttributes copies what belongs to an open directory itself.
func copyAttributes(dst, src *os.File) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(src.Fd()), &st); err != nil {
		return err
	}
	return copyEntryAttributes(procPath(dst, "."), procPath(src, "."), &st)
}

// copyEntryAttributes sets owner, mode, attributes and times, in this order: a change
// of owner takes set-uid bits and capabilities away.
func copyEntryAttributes(dst, src string, st *unix.Stat_t) error {
	if err := unix.Lchown(dst, int(st.Uid), int(st.Gid)); err != nil {
		return fmt.Errorf("set the owner: %w", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		if err := unix.Chmod(dst, st.Mode&0o7777); err != nil {
			return fmt.Errorf("set the mode: %w", err)
		}
	}
	if err := copyXattrs(dst, src); err != nil {
		return fmt.Errorf("set extended attributes: %w", err)
	}
	return setTimes(dst, st)
}

func setTimes(dst string, st *unix.Stat_t) error {
	times := []unix.Timespec{st.Atim, st.Mtim}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, dst, times, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("set the times: %w", err)
	}
	return nil
}

// copyXattrs copies extended attributes, except overlayfs' own. Those that the
// target's file system does not know are left out, as docker does.
func copyXattrs(dst, src string) error {
	list, err := growing(func(b []byte) (int, error) { return unix.Llistxattr(src, b) })
	if err != nil || len(list) == 0 {
		return ignoreUnsupported(err)
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(list), "\x00"), "\x00") {
		if strings.HasPrefix(name, "trusted.overlay.") || strings.HasPrefix(name, "user.overlay.") {
			continue
		}
		value, err := growing(func(b []byte) (int, error) { return unix.Lgetxattr(src, name, b) })
		if err == nil {
			err = unix.Lsetxattr(dst, name, value, 0)
		}
		if ignoreUnsupported(err) != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func ignoreUnsupported(err error) error {
	if errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.ENODATA) {
		return nil
	}
	return err
}

// growing calls read with a larger buffer until its result fits.
func growing(read func([]byte) (int, error)) ([]byte, error) {
	for size := 256; ; size *= 4 {
		buf := make([]byte, size)
		n, err := read(buf)
		if errors.Is(err, unix.ERANGE) && size < 1<<20 {
			continue
		}
		return buf[:max(n, 0)], err
	}
}
