package files

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// capabilities is the only extended attribute that is copied, as with docker: others name users or labels of this host.
const capabilities = "security.capability"

// Pack writes a tar of what is at a path, a folder with all that is in it. The names in it begin with the last part of the
// path; of "/x/." with ".", of "/" with "/", as docker's do. What is mounted in the tree comes along, but file systems of
// the kernel, and sockets, which no tar can hold.
func (t *Tree) Pack(ctx context.Context, w io.Writer, name string) error {
	fd, err := t.open(name)
	if err != nil {
		return err
	}
	defer unix.Close(fd) //nolint:errcheck // O_PATH descriptor
	if k := kernelOf(fd); k != "" {
		return fmt.Errorf("%s is in a file system of the kernel (%s): there is nothing to copy", absolute(name), k)
	}
	as := path.Base(absolute(name))
	if strings.HasSuffix(name, "/.") || name == "." {
		as = "."
	}
	p := newPacker(ctx, w)
	if err := p.object(fd, as, 0); err != nil {
		return err
	}
	return p.out.Close()
}

// Export writes a tar of the whole tree, whose names begin with no "/".
func (t *Tree) Export(ctx context.Context, w io.Writer) error {
	p := newPacker(ctx, w)
	if err := p.entries(t.fd(), "", 0); err != nil {
		return err
	}
	return p.out.Close()
}

type inode struct{ dev, ino uint64 }

// packer writes files of a tree to a tar.
type packer struct {
	ctx  context.Context //nolint:containedctx // of one call
	out  *tar.Writer
	seen map[inode]string // files with several names, by the first of them
}

func newPacker(ctx context.Context, w io.Writer) *packer {
	return &packer{ctx: ctx, out: tar.NewWriter(w), seen: map[inode]string{}}
}

// entries writes what is in a folder.
func (p *packer) entries(dir int, as string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%s: %w", as, ErrTooDeep)
	}
	names, err := list(dir)
	if err != nil {
		return &fs.PathError{Op: "read", Path: as, Err: err}
	}
	slices.Sort(names)
	for _, name := range names {
		if err := p.entry(dir, name, join(as, name), depth); err != nil {
			return err
		}
	}
	return nil
}

// join is path.Join for names of an archive, which keep a "." in front.
func join(as, name string) string {
	switch {
	case as == "":
		return name
	case strings.HasSuffix(as, "/"):
		return as + name
	}
	return as + "/" + name
}

// entry writes one name of a folder. One that has gone meanwhile is left out.
func (p *packer) entry(dir int, name, as string, depth int) error {
	fd, err := unix.Openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return &fs.PathError{Op: "open", Path: as, Err: err}
	}
	defer unix.Close(fd) //nolint:errcheck // O_PATH descriptor
	return p.object(fd, as, depth+1)
}

// object writes what an O_PATH descriptor is of.
func (p *packer) object(fd int, as string, depth int) error {
	if err := p.ctx.Err(); err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return &fs.PathError{Op: "stat", Path: as, Err: err}
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFSOCK:
		return nil
	case unix.S_IFDIR:
		if err := p.out.WriteHeader(header(&st, strings.TrimSuffix(as, "/")+"/")); err != nil {
			return fmt.Errorf("%s: %w", as, err)
		}
		if kernelOf(fd) != "" {
			return nil
		}
		return p.entries(fd, as, depth)
	case unix.S_IFREG:
		return p.file(fd, &st, as)
	}
	h := header(&st, as)
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		target, err := readlinkAt(fd, "")
		if err != nil {
			return &fs.PathError{Op: "readlink", Path: as, Err: err}
		}
		h.Linkname = target
	}
	if err := p.out.WriteHeader(h); err != nil {
		return fmt.Errorf("%s: %w", as, err)
	}
	return nil
}

// header is the entry of a file of a tar, before what only some kinds have.
func header(st *unix.Stat_t, as string) *tar.Header {
	h := &tar.Header{
		Name: as, Mode: int64(st.Mode & 0o7777), Uid: int(st.Uid), Gid: int(st.Gid), Format: tar.FormatPAX,
		ModTime: time.Unix(st.Mtim.Sec, st.Mtim.Nsec), PAXRecords: map[string]string{},
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		h.Typeflag = tar.TypeDir
	case unix.S_IFREG:
		h.Typeflag = tar.TypeReg
	case unix.S_IFLNK:
		h.Typeflag = tar.TypeSymlink
	case unix.S_IFIFO:
		h.Typeflag = tar.TypeFifo
	case unix.S_IFCHR:
		h.Typeflag = tar.TypeChar
	case unix.S_IFBLK:
		h.Typeflag = tar.TypeBlock
	}
	if h.Typeflag == tar.TypeChar || h.Typeflag == tar.TypeBlock {
		h.Devmajor, h.Devminor = int64(unix.Major(st.Rdev)), int64(unix.Minor(st.Rdev)) //nolint:unconvert // not on all platforms
	}
	return h
}

// file writes a regular file; one that was written before under another name as a link to that.
func (p *packer) file(fd int, st *unix.Stat_t, as string) error {
	h := header(st, as)
	if st.Nlink > 1 {
		id := inode{uint64(st.Dev), st.Ino} //nolint:unconvert // not on all platforms
		if first, ok := p.seen[id]; ok {
			h.Typeflag, h.Linkname = tar.TypeLink, first
			return p.out.WriteHeader(h)
		}
		p.seen[id] = as
	}
	h.Size = st.Size
	var value [1024]byte
	if n, err := unix.Getxattr(self(fd), capabilities, value[:]); err == nil {
		h.PAXRecords["SCHILY.xattr."+capabilities] = string(value[:n])
	}
	from, err := unix.Open(self(fd), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return &fs.PathError{Op: "open", Path: as, Err: err}
	}
	defer unix.Close(from) //nolint:errcheck // opened for reading
	if err := p.out.WriteHeader(h); err != nil {
		return fmt.Errorf("%s: %w", as, err)
	}
	if err := p.data(from, st.Size); err != nil {
		return fmt.Errorf("%s: %w", as, err)
	}
	return nil
}

// data writes a file's first bytes. If it has become shorter meanwhile, zeros make up for it: the header has been written.
func (p *packer) data(from int, size int64) error {
	buffer := make([]byte, 64<<10)
	for size > 0 {
		if err := p.ctx.Err(); err != nil {
			return err
		}
		part := buffer[:min(size, int64(len(buffer)))]
		n, err := unix.Read(from, part)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		if n == 0 {
			clear(part)
			n = len(part)
		}
		if _, err := p.out.Write(part[:n]); err != nil {
			return err
		}
		size -= int64(n)
	}
	return nil
}
