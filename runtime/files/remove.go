package files

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"golang.org/x/sys/unix"

	"tutti/runtime/inroot"
)

// FileKind tells files and folders apart.
type FileKind string

// The kinds that Remove tells apart. A symbolic link is a file.
const (
	AnyKind    FileKind = ""
	PlainKind  FileKind = "file"
	FolderKind FileKind = "folder"
)

// Remove deletes what is at a path of the tree, with all that is in it, unless it is of the kind spared. Links on the way are
// followed within the tree, one at the end is what is deleted. What is not there is no error. A mount is not removed: EBUSY.
func (t *Tree) Remove(name string, spared FileKind) error {
	clean := absolute(name)
	if clean == "/" {
		return &fs.PathError{Op: "remove", Path: clean, Err: errors.New("it is the root")}
	}
	dir, base := path.Split(clean)
	parent, err := inroot.Open(t.fd(), dir, unix.O_PATH|unix.O_DIRECTORY, inroot.Resolve)
	if missing(err) {
		return nil
	}
	if err != nil {
		return &fs.PathError{Op: "open", Path: dir, Err: err}
	}
	defer unix.Close(parent) //nolint:errcheck // O_PATH descriptor
	var st unix.Stat_t
	err = unix.Fstatat(parent, base, &st, unix.AT_SYMLINK_NOFOLLOW)
	if missing(err) {
		return nil
	}
	if err != nil {
		return &fs.PathError{Op: "stat", Path: clean, Err: err}
	}
	kind := PlainKind
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		kind = FolderKind
	}
	if kind == spared {
		return nil
	}
	if err := remove(parent, base, 0); err != nil && !missing(err) {
		return fmt.Errorf("remove %s: %w", shortened(clean), err)
	}
	return nil
}

func missing(err error) bool { return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) }

// remove deletes an entry of a folder, with all that is in it.
func remove(parent int, base string, depth int) error {
	if mounted, err := isMount(parent, base); err != nil || mounted {
		return cmp.Or(err, error(unix.EBUSY))
	}
	err := unix.Unlinkat(parent, base, 0)
	if !errors.Is(err, unix.EISDIR) {
		return err
	}
	if depth > maxDepth {
		return ErrTooDeep
	}
	dir, err := unix.Openat(parent, base, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	names, err := list(dir)
	for _, name := range names {
		if err = remove(dir, name, depth+1); err != nil {
			break
		}
	}
	_ = unix.Close(dir)
	if err != nil {
		return err
	}
	return unix.Unlinkat(parent, base, unix.AT_REMOVEDIR)
}

// isMount tells whether something is mounted at an entry of a folder. To remove it would take the mount away from a container, whose
// mounts are not those of this process: the kernel says that it is busy of one's own alone.
func isMount(parent int, base string) (bool, error) {
	var at, around unix.Statx_t
	if err := unix.Statx(parent, base, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_MNT_ID, &at); err != nil {
		return false, err
	}
	if err := unix.Statx(parent, "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID, &around); err != nil {
		return false, err
	}
	return at.Mnt_id != around.Mnt_id, nil
}
