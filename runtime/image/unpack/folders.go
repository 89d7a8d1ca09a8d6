package unpack

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"tutti/runtime/inroot"
)

// maxLinks is the kernel's own limit for symbolic links in one path.
const maxLinks = 40

// makeFolders opens a path that is missing in part, and makes that: one folder after the other, where links lead. A folder
// that a layer below has gets its attributes from there, for it stands before that one.
func (u *unpacking) makeFolders(dir string) (int, error) {
	parts, err := u.resolve(dir)
	if err != nil {
		return -1, err
	}
	for i, name := range parts {
		if err := u.makeFolder(joined(parts[:i]), name); err != nil {
			return -1, err
		}
	}
	return inroot.Open(u.root, joined(parts), unix.O_PATH|unix.O_DIRECTORY, inroot.Resolve)
}

func joined(parts []string) string { return "/" + strings.Join(parts, "/") }

// resolve follows the links of a path whose end is missing, and returns its parts.
func (u *unpacking) resolve(dir string) (done []string, err error) {
	rest := strings.Split(dir, "/")
	for links := 0; len(rest) > 0; {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			done = done[:max(len(done)-1, 0)]
			continue
		}
		target, err := u.readLink(joined(append(done, part)))
		if err != nil {
			return nil, err
		}
		if target == "" {
			done = append(done, part)
			continue
		}
		if links++; links > maxLinks {
			return nil, unix.ELOOP
		}
		if path.IsAbs(target) {
			done = nil
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return done, nil
}

// readLink says where a link leads; nowhere, if there is none.
func (u *unpacking) readLink(name string) (string, error) {
	fd, err := inroot.Open(u.root, name, unix.O_PATH|unix.O_NOFOLLOW, inroot.Resolve)
	if errors.Is(err, unix.ENOENT) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer unix.Close(fd) //nolint:errcheck // O_PATH descriptor
	target := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", target)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) { // no link: ENOENT is for an empty path
		return "", nil
	}
	return string(target[:n]), err
}

// makeFolder makes one folder if it is missing.
func (u *unpacking) makeFolder(dir, name string) error {
	parent, err := inroot.Open(u.root, dir, unix.O_PATH|unix.O_DIRECTORY, inroot.Resolve)
	if err != nil {
		return err
	}
	defer unix.Close(parent) //nolint:errcheck // O_PATH descriptor
	err = unix.Mkdirat(parent, name, 0o755)
	if errors.Is(err, unix.EEXIST) {
		return nil // what it is, if it is no folder, opening it says
	}
	if err != nil {
		return err
	}
	return u.inherit(parent, name, path.Join(dir, name))
}

// inherit gives a folder the attributes that it has in the layers below. The topmost layer that has it counts.
func (u *unpacking) inherit(parent int, base, name string) error {
	if err := unix.Fchmodat(parent, base, 0o755, 0); err != nil { // whatever the umask is
		return err
	}
	for _, lower := range u.lower {
		fd, err := inroot.Open(lower, name, unix.O_PATH, inroot.Resolve)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
			continue
		}
		if err != nil {
			return fmt.Errorf("find folder %q in the layers below: %w", shortened(name), err)
		}
		err = u.takeOver(parent, base, fd)
		_ = unix.Close(fd)
		return err
	}
	return nil
}

func (u *unpacking) takeOver(parent int, base string, from int) error {
	var st unix.Stat_t
	if err := unix.Fstat(from, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return err // something else, which is hidden now
	}
	if err := unix.Fchownat(parent, base, int(st.Uid), int(st.Gid), unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if err := unix.Fchmodat(parent, base, st.Mode&0o7777, 0); err != nil {
		return err
	}
	if err := copyAttributes(self(from), self(parent)+"/"+base); err != nil {
		return err
	}
	return unix.UtimesNanoAt(parent, base, []unix.Timespec{st.Atim, st.Mtim}, unix.AT_SYMLINK_NOFOLLOW)
}

// copyAttributes copies extended attributes but those of overlayfs and the like, which are of one folder alone.
func copyAttributes(from, to string) error {
	names := make([]byte, 64<<10) // XATTR_LIST_MAX
	n, err := unix.Listxattr(from, names)
	if errors.Is(err, unix.ENOTSUP) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list attributes: %w", err)
	}
	for name := range strings.SplitSeq(string(names[:n]), "\x00") {
		if name == "" || strings.HasPrefix(name, "trusted.") {
			continue
		}
		value := make([]byte, 64<<10) // XATTR_SIZE_MAX
		n, err := unix.Getxattr(from, name, value)
		if err == nil {
			err = unix.Lsetxattr(to, name, value[:n], 0)
		}
		if err != nil && !errors.Is(err, unix.ENOTSUP) && !errors.Is(err, unix.ENODATA) {
			return fmt.Errorf("copy attribute %s: %w", name, err)
		}
	}
	return nil
}

// setFolderTime sets the times of a folder, after which nothing more is put into it. Something else may have taken its place.
func (u *unpacking) setFolderTime(name string, at [2]unix.Timespec) error {
	if err := u.ctx.Err(); err != nil {
		return err
	}
	fd, err := inroot.Open(u.root, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, inroot.Resolve)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil
	}
	if err == nil {
		err = unix.UtimesNanoAt(fd, "", at[:], unix.AT_EMPTY_PATH)
		_ = unix.Close(fd)
	}
	if err != nil {
		return fmt.Errorf("set the times of folder %q: %w", shortened(name), err)
	}
	return nil
}
