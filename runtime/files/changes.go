package files

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Kind is what happened to a file, in docker's numbers.
type Kind int

// The kinds of changes.
const (
	Modified Kind = iota
	Added
	Deleted
)

// Change is one file of a container that is not as its image has it.
type Change struct {
	Kind Kind
	Path string // absolute, in the container
}

// Difference compares a container with its image: by what overlayfs has put into the container's own folder, but reads
// what it is from the container's file system, for the folder alone can be a part of it (metacopy, redirected folders).
type Difference struct {
	Upper  *Tree // the overlay's upper folder
	Merged *Tree // the overlay, with nothing mounted in it
	Lower  *Tree // the image
}

// List names the changes, each after the folder that it is in, as `docker diff` does: also folders in which something
// changed.
func (d Difference) List(ctx context.Context) ([]Change, error) {
	l := &lister{}
	if err := d.walk(ctx, l); err != nil {
		return nil, err
	}
	return l.changes, nil
}

// WriteLayer writes the changes as a layer of an image (image-spec, layer.md).
func (d Difference) WriteLayer(ctx context.Context, w io.Writer) error {
	l := &layerWriter{packer: newPacker(ctx, w)}
	if err := d.walk(ctx, l); err != nil {
		return err
	}
	return l.out.Close()
}

// visitor is told what changed, folders before what is in them.
type visitor interface {
	// deleted: a file of the image has gone.
	deleted(path string) error
	// present: fd is of a file in the container's folder, st is its state, before that of the image, nil for none.
	// opaque: nothing of a folder of the image is left in it.
	present(fd int, path string, st, before *unix.Stat_t, opaque bool) error
}

func (d Difference) walk(ctx context.Context, v visitor) error {
	w := walker{ctx, v}
	return w.folder(d.Upper.fd(), d.Merged.fd(), d.Lower.fd(), "", 0)
}

type walker struct {
	ctx context.Context //nolint:containedctx // of one call
	visitor
}

// folder compares one folder. lower is -1 when the image has none there, upper when all of merged is new.
func (w walker) folder(upper, merged, lower int, at string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%s: %w", at, ErrTooDeep)
	}
	from := upper
	if upper < 0 {
		from = merged
	}
	names, err := list(from)
	if err != nil {
		return &fs.PathError{Op: "read", Path: "/" + at, Err: err}
	}
	slices.Sort(names)
	for _, name := range names {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		if err := w.entry(upper, merged, lower, name, join(at, name), depth); err != nil {
			return err
		}
	}
	return nil
}

func (w walker) entry(upper, merged, lower int, name, at string, depth int) error {
	var before *unix.Stat_t
	if lower >= 0 {
		var st unix.Stat_t
		if err := unix.Fstatat(lower, name, &st, unix.AT_SYMLINK_NOFOLLOW); err == nil {
			before = &st
		} else if !errors.Is(err, unix.ENOENT) {
			return &fs.PathError{Op: "stat", Path: "/" + at, Err: err}
		}
	}
	if upper >= 0 {
		var st unix.Stat_t
		err := unix.Fstatat(upper, name, &st, unix.AT_SYMLINK_NOFOLLOW)
		if err == nil && st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0 {
			if before == nil {
				return nil
			}
			return w.deleted(at)
		}
	}
	fd, err := unix.Openat(merged, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil // gone meanwhile
	}
	if err != nil {
		return &fs.PathError{Op: "open", Path: "/" + at, Err: err}
	}
	defer unix.Close(fd) //nolint:errcheck // O_PATH descriptor
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return &fs.PathError{Op: "stat", Path: "/" + at, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return w.present(fd, at, &st, before, false)
	}
	return w.subfolder(fd, &st, before, upper, lower, name, at, depth)
}

func (w walker) subfolder(fd int, st, before *unix.Stat_t, upper, lower int, name, at string, depth int) error {
	up, whole := -1, upper < 0
	if upper >= 0 {
		var err error
		if up, err = unix.Openat(upper, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0); err != nil {
			return nil //nolint:nilerr // it became something else meanwhile
		}
		defer unix.Close(up) //nolint:errcheck // O_PATH descriptor
		if hasAttribute(up, "trusted.overlay.redirect") {
			up, whole = -1, true // what is in it lies elsewhere
		}
	}
	opaque := whole || hasAttribute(up, "trusted.overlay.opaque")
	low := -1
	if before != nil && before.Mode&unix.S_IFMT == unix.S_IFDIR {
		var err error
		if low, err = unix.Openat(lower, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0); err != nil {
			return &fs.PathError{Op: "open", Path: "/" + at, Err: err}
		}
		defer unix.Close(low) //nolint:errcheck // O_PATH descriptor
	}
	if err := w.present(fd, at, st, before, opaque && low >= 0); err != nil {
		return err
	}
	if opaque && low >= 0 {
		if err := w.vanished(fd, low, at); err != nil {
			return err
		}
	}
	return w.folder(up, fd, low, at, depth+1)
}

// vanished reports what a folder of the image had and one that hides it has not.
func (w walker) vanished(merged, lower int, at string) error {
	names, err := list(lower)
	if err != nil {
		return &fs.PathError{Op: "read", Path: "/" + at, Err: err}
	}
	slices.Sort(names)
	for _, name := range names {
		var st unix.Stat_t
		if err := unix.Fstatat(merged, name, &st, unix.AT_SYMLINK_NOFOLLOW); errors.Is(err, unix.ENOENT) {
			if err := w.deleted(join(at, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

func hasAttribute(fd int, name string) bool {
	_, err := unix.Getxattr(self(fd), name, make([]byte, unix.PathMax))
	return err == nil
}

// lister collects the changes for List.
type lister struct {
	changes []Change
	pending []string // folders that themselves are as in the image, of which the last is the innermost
}

func (l *lister) add(kind Kind, at string) {
	for _, p := range l.pending {
		if strings.HasPrefix(at, p+"/") {
			l.changes = append(l.changes, Change{Modified, "/" + p})
		}
	}
	l.pending = nil
	l.changes = append(l.changes, Change{kind, "/" + at})
}

func (l *lister) deleted(at string) error {
	l.add(Deleted, at)
	return nil
}

func (l *lister) present(_ int, at string, st, before *unix.Stat_t, _ bool) error {
	switch {
	case before == nil:
		l.add(Added, at)
	case unchangedFolder(st, before):
		l.pending = append(slices.DeleteFunc(l.pending, func(p string) bool { return !strings.HasPrefix(at, p+"/") }), at)
	default:
		l.add(Modified, at)
	}
	return nil
}

func unchangedFolder(st, before *unix.Stat_t) bool {
	return st.Mode&unix.S_IFMT == unix.S_IFDIR && st.Mode == before.Mode && st.Uid == before.Uid && st.Gid == before.Gid && st.Mtim == before.Mtim
}

// layerWriter writes the changes for WriteLayer.
type layerWriter struct{ *packer }

// The marks of a layer, in front of and instead of a name.
const (
	whiteout = ".wh."
	opaque   = ".wh..wh..opq"
)

func (l *layerWriter) mark(at string) error {
	return l.out.WriteHeader(&tar.Header{Name: at, Typeflag: tar.TypeReg, Format: tar.FormatPAX})
}

func (l *layerWriter) deleted(at string) error {
	i := strings.LastIndexByte(at, '/') + 1
	return l.mark(at[:i] + whiteout + at[i:])
}

func (l *layerWriter) present(fd int, at string, st, _ *unix.Stat_t, hides bool) error {
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		if err := l.out.WriteHeader(header(st, at+"/")); err != nil {
			return fmt.Errorf("/%s: %w", at, err)
		}
		if hides {
			return l.mark(at + "/" + opaque)
		}
		return nil
	}
	return l.object(fd, at, 0)
}
