// Package bringing makes files in containers what they are on this host: it looks at each, and packs those that are there into a
// tar and those that are not into a list of removals, for the engine to carry out at once.
package bringing

import (
	"archive/tar"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"tutti/runtime/inroot"
	"tutti/scheduler/api"
)

// File is a file of this host, an absolute path without symbolic links but at its end, and where it is to be in a container.
type File struct {
	Host, Container string
	// Gone: it had been removed for a moment, so that it may have become a folder, or the other way round.
	Gone bool
}

// Bring makes the files of a container what they are on this host. Links are copied as links, folders without what is in them;
// sockets and devices are left out, and so is what may not be read: Bring returns those paths.
func Bring(ctx context.Context, c *api.Client, container string, list []File) (skipped []string, err error) {
	p, err := newPacking(list)
	if err != nil {
		return nil, err
	}
	defer unix.Close(p.root) //nolint:errcheck // O_PATH descriptor
	r, w := io.Pipe()
	packed := make(chan error, 1)
	go func() {
		err := p.pack(ctx, w)
		w.CloseWithError(err)
		packed <- err
	}()
	err = c.Bring(ctx, container, p.removals, r)
	r.CloseWithError(cmp.Or(err, io.ErrClosedPipe))
	if failed := <-packed; err == nil || failed != nil && !errors.Is(failed, io.ErrClosedPipe) && !errors.Is(failed, err) {
		err = errors.Join(failed, err)
	}
	return p.skipped, err
}

// packing is one list on its way.
type packing struct {
	root     int // of this host's files
	present  []File
	removals []api.Removal
	skipped  []string
}

// newPacking looks which files are there.
func newPacking(list []File) (*packing, error) {
	root, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open the root: %w", err)
	}
	p := &packing{root: root}
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b File) int { return strings.Compare(a.Container, b.Container) })
	covered := "" // by the removal of a folder that it is in
	for _, f := range list {
		st, err := p.look(f.Host)
		switch {
		case absent(err):
			if covered == "" || !strings.HasPrefix(f.Container, covered) {
				p.removals = append(p.removals, api.Removal{Path: f.Container})
				covered = f.Container + "/"
			}
		case err != nil:
			p.skipped = append(p.skipped, f.Host)
		default:
			if f.Gone {
				p.removals = append(p.removals, api.Removal{Path: f.Container, Spared: kind(st)})
				if kind(st) == "file" {
					covered = f.Container + "/"
				}
			}
			p.present = append(p.present, f)
		}
	}
	return p, nil
}

// absent: it is not there, or a link is on the way, behind which is what somebody else has to say.
func absent(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP)
}

func kind(st *unix.Stat_t) string {
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return "folder"
	}
	return "file"
}

// open opens a path on which there are no links but at its end.
func (p *packing) open(path string, flags uint64) (int, error) {
	return inroot.Open(p.root, path, flags|unix.O_NOFOLLOW, unix.RESOLVE_NO_SYMLINKS|unix.RESOLVE_NO_MAGICLINKS)
}

// look describes what is at a path, without opening it.
func (p *packing) look(path string) (*unix.Stat_t, error) {
	up, name := split(path)
	dir, err := p.open(up, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	defer unix.Close(dir) //nolint:errcheck // O_PATH descriptor
	var st unix.Stat_t
	if err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return nil, err
	}
	return &st, nil
}

func split(path string) (up, name string) {
	at := strings.LastIndexByte(path, '/')
	return cmp.Or(path[:at], "/"), cmp.Or(path[at+1:], ".")
}

func (p *packing) pack(ctx context.Context, w io.Writer) error {
	out := tar.NewWriter(w)
	for _, f := range p.present {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := p.entry(out, f)
		switch {
		case absent(err): // it has gone since; that will be told, too
		case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM), errors.Is(err, errKind):
			p.skipped = append(p.skipped, f.Host)
		case err != nil:
			return fmt.Errorf("pack %s: %w", f.Host, err)
		}
	}
	return out.Close()
}

// errKind: what is no file, folder, link or FIFO is not copied.
var errKind = errors.New("it is a socket or a device")

func (p *packing) entry(out *tar.Writer, f File) error {
	st, err := p.look(f.Host)
	if err != nil {
		return err
	}
	h := header(st, f.Container)
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return p.file(out, f)
	case unix.S_IFDIR:
		h.Typeflag, h.Name = tar.TypeDir, h.Name+"/"
	case unix.S_IFIFO:
		h.Typeflag = tar.TypeFifo
	case unix.S_IFLNK:
		h.Typeflag = tar.TypeSymlink
		if h.Linkname, err = os.Readlink(f.Host); err != nil {
			return err
		}
	default:
		return errKind
	}
	return out.WriteHeader(h)
}

// file packs a file, which may be another than a moment ago, or change while it is read: what is missing then is zeros, until the
// change is told.
func (p *packing) file(out *tar.Writer, f File) error {
	fd, err := p.open(f.Host, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return err
	}
	in := os.NewFile(uintptr(fd), f.Host)
	defer in.Close() //nolint:errcheck // opened for reading
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return errKind
	}
	h := header(&st, f.Container)
	h.Typeflag, h.Size = tar.TypeReg, st.Size
	if err := out.WriteHeader(h); err != nil {
		return err
	}
	_, err = io.CopyN(out, io.MultiReader(in, zeros{}), st.Size)
	return err
}

// zeros never end.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

func header(st *unix.Stat_t, container string) *tar.Header {
	return &tar.Header{
		Name: strings.TrimPrefix(container, "/"), Mode: int64(st.Mode & 0o7777), Uid: int(st.Uid), Gid: int(st.Gid),
		ModTime: time.Unix(st.Mtim.Unix()), Format: tar.FormatPAX,
	}
}
