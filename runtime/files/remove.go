package files

import (
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
