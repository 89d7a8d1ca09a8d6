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

	"tutti/runtime/decompress"
	"tutti/runtime/inroot"
)

// maxEntries bounds the files of one archive, of which the folders are remembered until its end.
const maxEntries = 1_000_000

// Errors of Extract that are the request's fault; test with errors.Is.
var (
	// ErrNotFolder: an archive can be unpacked into a folder only.
	ErrNotFolder = errors.New("extraction point is not a directory")
	// ErrOutside: a name or a link of the archive leads out of the folder.
	ErrOutside = errors.New("it leads out of the folder")
	// ErrOverwrite: a folder would be replaced by something else, or the other way round.
	ErrOverwrite = errors.New("cannot overwrite")
	// ErrArchive: it is no archive, or one that is not taken.
	ErrArchive = errors.New("invalid archive")
)

// ExtractOptions of Extract.
type ExtractOptions struct {
	// Owner is whose the files become; nil: the archive says, with KeepOwner, or else they are the caller's.
	Owner     *Owner
	KeepOwner bool
	// KeepKind refuses to replace a folder by something else and the other way round.
	KeepKind bool
	// ThroughLinks takes a symbolic link that leads to a folder for that folder, where the archive has one.
	ThroughLinks bool
	// Links lets symbolic links that are there already lead anywhere in the tree, as in a container; without it one on the
	// way is an error.
	Links bool
}

// Owner is a user and a group by number.
type Owner struct{ UID, GID int }

// Extract unpacks a tar, compressed or not, into a folder of the tree. What is there already is replaced, folders are
// merged. Devices other than those of every container's /dev are refused. Where owners are not kept, the bits set-uid and
// set-gid of files are not either: such a file would act for whoever it is given to.
func (t *Tree) Extract(ctx context.Context, r io.Reader, dir string, o ExtractOptions) error {
	at, err := inroot.Open(t.fd(), absolute(dir), unix.O_PATH, inroot.Resolve)
	if err != nil {
		return &fs.PathError{Op: "lstat", Path: absolute(dir), Err: err}
	}
	var st unix.Stat_t
	err = unix.Fstat(at, &st)
	_ = unix.Close(at)
	if err != nil {
		return &fs.PathError{Op: "stat", Path: absolute(dir), Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return ErrNotFolder
	}
	plain, err := decompress.New(r)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrArchive, err)
	}
	defer plain.Close() //nolint:errcheck // reads only
	x := &extraction{ctx: ctx, tree: t, dir: absolute(dir), o: o}
	if err := x.run(tar.NewReader(plain)); err != nil {
		return err
	}
	// What follows the tar's end is read, so that whoever sends it sees no broken connection.
	_, err = io.Copy(io.Discard, plain)
	return err
}

// extraction is one run of Extract.
type extraction struct {
	ctx     context.Context //nolint:containedctx // of one call
	tree    *Tree
	dir     string
	o       ExtractOptions
	folders []folderTime
}

// folderTime is set when nothing more is put into a folder.
type folderTime struct {
	name        string
	atime, time unix.Timespec
}

func (x *extraction) run(in *tar.Reader) error {
	for n := 0; ; n++ {
		if err := x.ctx.Err(); err != nil {
			return err
		}
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrArchive, err)
		}
		if n >= maxEntries {
			return fmt.Errorf("%w: more than %d files", ErrArchive, maxEntries)
		}
		if err := x.entry(in, h); err != nil {
			return fmt.Errorf("%s: %w", shortened(h.Name), err)
		}
	}
	for _, f := range slices.Backward(x.folders) {
		if err := x.setFolderTime(f); err != nil {
			return fmt.Errorf("%s: set its time: %w", shortened(f.name), err)
		}
	}
	return nil
}

func shortened(name string) string {
	if len(name) > 200 {
		return name[:200] + "..."
	}
	return name
}

// inside is a name of the archive relative to the folder. An absolute one begins there, as with docker.
func inside(name string) (string, error) {
	if len(name) > unix.PathMax {
		return "", fmt.Errorf("%w: the name is too long", ErrArchive)
	}
	clean := path.Clean(strings.TrimLeft(name, "/"))
	if clean == ".." || strings.HasPrefix(clean, "../") {
		return "", ErrOutside
	}
	return clean, nil
}

// resolve is how paths below the folder are opened.
func (x *extraction) resolve() uint64 {
	if x.o.Links {
		return inroot.Resolve
	}
	return inroot.Resolve | unix.RESOLVE_NO_SYMLINKS
}

// parent opens the folder that a name is in, made if it is missing, and returns the last part of the name.
func (x *extraction) parent(name string) (fd int, base string, err error) {
	dir := path.Join(x.dir, path.Dir(name))
	fd, err = inroot.Open(x.tree.fd(), dir, unix.O_PATH|unix.O_DIRECTORY, x.resolve())
	if errors.Is(err, unix.ENOENT) && x.o.Links {
		fd, _, err = inroot.Make(x.tree.fd(), dir, true)
	} else if errors.Is(err, unix.ENOENT) {
		fd, err = x.makePlain(dir)
	}
	return fd, path.Base(name), err
}

// makePlain makes folders one by one where no link is followed.
func (x *extraction) makePlain(dir string) (int, error) {
	up, name := path.Split(dir)
	parent, err := inroot.Open(x.tree.fd(), up, unix.O_PATH|unix.O_DIRECTORY, x.resolve())
	if errors.Is(err, unix.ENOENT) && up != "/" {
		parent, err = x.makePlain(path.Clean(up))
	}
	if err != nil {
		return -1, err
	}
	defer unix.Close(parent) //nolint:errcheck // O_PATH descriptor
	if err := unix.Mkdirat(parent, name, 0o755); err != nil && !errors.Is(err, unix.EEXIST) {
		return -1, err
	}
	return unix.Openat(parent, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
}

func (x *extraction) entry(in io.Reader, h *tar.Header) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	name, err := inside(h.Name)
	if err != nil {
		return err
	}
	if name == "." {
		return nil // the folder itself stays as it is
	}
	parent, base, err := x.parent(name)
	if err != nil {
		return err
	}
	defer unix.Close(parent) //nolint:errcheck // O_PATH descriptor
	if x.o.ThroughLinks && h.Typeflag == tar.TypeDir && x.leadsToFolder(parent, base, name) {
		return nil
	}
	exists, err := x.makeRoom(parent, base, h)
	if err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return x.folder(parent, base, name, h, exists)
	case tar.TypeReg:
		return x.file(parent, base, in, h)
	case tar.TypeLink:
		return x.hardLink(parent, base, h)
	case tar.TypeSymlink:
		if err := unix.Symlinkat(h.Linkname, parent, base); err != nil {
			return err
		}
	case tar.TypeFifo, tar.TypeChar, tar.TypeBlock:
		if err := x.node(parent, base, h); err != nil {
			return err
		}
	default:
		return fmt.Errorf("%w: unknown kind of file %q", ErrArchive, h.Typeflag)
	}
	if owner := x.owner(h); owner != nil {
		if err := unix.Fchownat(parent, base, owner.UID, owner.GID, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return fmt.Errorf("set its owner: %w", err)
		}
	}
	atime, mtime := times(h)
	return unix.UtimesNanoAt(parent, base, []unix.Timespec{atime, mtime}, unix.AT_SYMLINK_NOFOLLOW)
}

// leadsToFolder says whether an entry of a folder is a link to another folder of the tree.
func (x *extraction) leadsToFolder(parent int, base, name string) bool {
	var st unix.Stat_t
	if err := unix.Fstatat(parent, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil || st.Mode&unix.S_IFMT != unix.S_IFLNK {
		return false
	}
	fd, err := inroot.Open(x.tree.fd(), path.Join(x.dir, name), unix.O_PATH|unix.O_DIRECTORY, x.resolve())
	if err != nil {
		return false
	}
	_ = unix.Close(fd)
	return true
}

// makeRoom removes what stands where the entry is to be, unless both are folders. It says whether that is so.
func (x *extraction) makeRoom(parent int, base string, h *tar.Header) (folder bool, err error) {
	var st unix.Stat_t
	err = unix.Fstatat(parent, base, &st, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	isDir := st.Mode&unix.S_IFMT == unix.S_IFDIR
	switch {
	case isDir && h.Typeflag == tar.TypeDir:
		return true, nil
	case x.o.KeepKind && isDir:
		return false, fmt.Errorf("%w directory with non-directory", ErrOverwrite)
	case x.o.KeepKind && h.Typeflag == tar.TypeDir:
		return false, fmt.Errorf("%w non-directory with directory", ErrOverwrite)
	}
	return false, remove(parent, base, 0)
}

func (x *extraction) owner(h *tar.Header) *Owner {
	switch {
	case x.o.Owner != nil:
		return x.o.Owner
	case x.o.KeepOwner:
		return &Owner{h.Uid, h.Gid}
	}
	return nil
}

func (x *extraction) folder(parent int, base, name string, h *tar.Header, exists bool) error {
	if !exists {
		if err := unix.Mkdirat(parent, base, 0o700); err != nil {
			return err
		}
	}
	fd, err := unix.Openat(parent, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd) //nolint:errcheck // opened for reading
	atime, mtime := times(h)
	x.folders = append(x.folders, folderTime{name, atime, mtime})
	return x.attributes(fd, h)
}

func (x *extraction) setFolderTime(f folderTime) error {
	parent, base, err := x.parent(f.name)
	if err != nil {
		return err
	}
	defer unix.Close(parent) //nolint:errcheck // O_PATH descriptor
	err = unix.UtimesNanoAt(parent, base, []unix.Timespec{f.atime, f.time}, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) {
		return nil // something else took its place
	}
	return err
}

// attributes sets owner, mode and capabilities by a descriptor, in this order: a new owner takes the others away.
func (x *extraction) attributes(fd int, h *tar.Header) error {
	if owner := x.owner(h); owner != nil {
		if err := unix.Fchown(fd, owner.UID, owner.GID); err != nil {
			return fmt.Errorf("set its owner: %w", err)
		}
	}
	mode := uint32(h.Mode & 0o7777) //nolint:gosec // 12 bits
	if x.owner(h) == nil && h.Typeflag == tar.TypeReg {
		mode &= 0o777
	}
	if err := unix.Fchmod(fd, mode); err != nil {
		return fmt.Errorf("set its mode: %w", err)
	}
	if x.owner(h) == nil {
		return nil
	}
	value, ok := h.PAXRecords["SCHILY.xattr."+capabilities]
	if !ok {
		return nil
	}
	err := unix.Fsetxattr(fd, capabilities, []byte(value), 0)
	if errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.EPERM) {
		return nil // as docker does
	}
	return err
}

func times(h *tar.Header) (atime, mtime unix.Timespec) {
	modified, accessed := h.ModTime, h.AccessTime
	if modified.Before(time.Unix(0, 0)) {
		modified = time.Unix(0, 0)
	}
	if accessed.Before(modified) {
		accessed = modified
	}
	return unix.NsecToTimespec(accessed.UnixNano()), unix.NsecToTimespec(modified.UnixNano())
}

// hardLink links to another file of the archive.
func (x *extraction) hardLink(parent int, base string, h *tar.Header) error {
	target, err := inside(h.Linkname)
	if err != nil {
		return fmt.Errorf("link to %s: %w", shortened(h.Linkname), err)
	}
	dir, name, err := x.parent(target)
	if err != nil {
		return fmt.Errorf("link to %s: %w", shortened(h.Linkname), err)
	}
	defer unix.Close(dir) //nolint:errcheck // O_PATH descriptor
	if err := unix.Linkat(dir, name, parent, base, 0); err != nil {
		return fmt.Errorf("link to %s: %w", shortened(h.Linkname), err)
	}
	return nil
}
