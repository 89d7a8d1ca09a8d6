package unpack

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"tutti/runtime/inroot"
)

// attribute begins the names of extended attributes in a tar.
const attribute = "SCHILY.xattr."

// write makes what an entry describes, in place of what stands there.
func (u *unpacking) write(parent int, base, name string, in io.Reader, h *tar.Header) error {
	err := u.make(parent, base, in, h)
	if errors.Is(err, unix.EEXIST) {
		defer u.forget() // the folder of the next entry may be gone, although it is the same by name
		var merged bool
		if merged, err = u.makeRoom(parent, base, h); err != nil {
			return err
		}
		if merged {
			err = u.attributes(parent, base, h)
		} else {
			err = u.make(parent, base, in, h)
		}
	}
	if err == nil && h.Typeflag == tar.TypeDir {
		err = u.folders.add(name, times(h))
	}
	return err
}

// make makes an entry with its attributes; unix.EEXIST when something stands there.
func (u *unpacking) make(parent int, base string, in io.Reader, h *tar.Header) error {
	mode := uint32(h.Mode & 0o7777) //nolint:gosec // 12 bits
	var err error
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse:
		return u.file(parent, base, in, h)
	case tar.TypeDir:
		err = unix.Mkdirat(parent, base, 0o700)
	case tar.TypeSymlink:
		err = unix.Symlinkat(h.Linkname, parent, base)
	case tar.TypeLink:
		err = u.link(parent, base, h.Linkname)
	case tar.TypeFifo:
		err = unix.Mknodat(parent, base, unix.S_IFIFO|mode, 0)
	case tar.TypeChar:
		err = unix.Mknodat(parent, base, unix.S_IFCHR|mode, device(h))
	case tar.TypeBlock:
		err = unix.Mknodat(parent, base, unix.S_IFBLK|mode, device(h))
	default:
		return fmt.Errorf("unknown kind of file %q", h.Typeflag)
	}
	if err != nil {
		return err
	}
	return u.attributes(parent, base, h)
}

func device(h *tar.Header) int {
	return int(unix.Mkdev(uint32(h.Devmajor), uint32(h.Devminor))) //nolint:gosec // the kernel refuses others
}

// makeRoom removes what stands where an entry is to be. Two folders become one: merged. A folder that takes the place of a
// whiteout shows nothing of what that hid.
func (u *unpacking) makeRoom(parent int, base string, h *tar.Header) (merged bool, err error) {
	var st unix.Stat_t
	if err := unix.Fstatat(parent, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return false, err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR && h.Typeflag == tar.TypeDir {
		return true, nil
	}
	// Of a path in a descriptor the last component alone is looked up, and os.RemoveAll follows no links.
	if err := os.RemoveAll(self(parent) + "/" + base); err != nil {
		return false, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != 0 || h.Typeflag != tar.TypeDir || len(u.lower) == 0 {
		return false, nil
	}
	if err := unix.Mkdirat(parent, base, 0o700); err != nil {
		return false, err
	}
	return true, unix.Setxattr(self(parent)+"/"+base, "trusted.overlay.opaque", []byte{'y'}, 0)
}

// file writes a regular file.
func (u *unpacking) file(parent int, base string, in io.Reader, h *tar.Header) (err error) {
	fd, err := unix.Openat(parent, base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if e := unix.Close(fd); err == nil { // which is where some file systems say that they are full
			err = e
		}
	}()
	if err := u.copy(fd, in); err != nil {
		return err
	}
	if err := unix.Fchown(fd, h.Uid, h.Gid); err != nil {
		return fmt.Errorf("set its owner: %w", err)
	}
	if err := extended(h, func(name string, value []byte) error { return unix.Fsetxattr(fd, name, value, 0) }); err != nil {
		return err
	}
	if err := unix.Fchmod(fd, uint32(h.Mode&0o7777)); err != nil { //nolint:gosec // 12 bits
		return fmt.Errorf("set its mode: %w", err)
	}
	at := times(h)
	return unix.UtimesNanoAt(fd, "", at[:], unix.AT_EMPTY_PATH)
}

// copy writes a file's content.
func (u *unpacking) copy(fd int, in io.Reader) error {
	for {
		if err := u.ctx.Err(); err != nil {
			return err
		}
		n, readErr := in.Read(u.buffer)
		for part := u.buffer[:n]; len(part) > 0; {
			written, err := unix.Write(fd, part)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if err != nil {
				return fmt.Errorf("write: %w", err)
			}
			part = part[written:]
		}
		switch {
		case errors.Is(readErr, io.EOF):
			return nil
		case readErr != nil:
			return readErr
		}
	}
}

// link makes a further name for a file of the layer. Links on the way to it are followed, one at the end is not.
func (u *unpacking) link(parent int, base, target string) error {
	dir, name := path.Split(path.Clean("/" + target))
	from, err := inroot.Open(u.root, dir, unix.O_PATH|unix.O_DIRECTORY, inroot.Resolve)
	if err == nil {
		defer unix.Close(from) //nolint:errcheck // O_PATH descriptor
		err = unix.Linkat(from, name, parent, base, 0)
	}
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("link to %q: %w", shortened(target), err)
	}
	return err
}

// attributes sets owner, extended attributes, mode and times, in this order: a new owner takes some of the others away.
func (u *unpacking) attributes(parent int, base string, h *tar.Header) error {
	if err := unix.Fchownat(parent, base, h.Uid, h.Gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("set its owner: %w", err)
	}
	at := self(parent) + "/" + base
	if err := extended(h, func(name string, value []byte) error { return unix.Lsetxattr(at, name, value, 0) }); err != nil {
		return err
	}
	if err := changeMode(parent, base, h); err != nil {
		return fmt.Errorf("set its mode: %w", err)
	}
	times := times(h)
	return unix.UtimesNanoAt(parent, base, times[:], unix.AT_SYMLINK_NOFOLLOW)
}

// changeMode sets the mode of anything but a symbolic link, which has none. A hard link can be one.
func changeMode(parent int, base string, h *tar.Header) error {
	if h.Typeflag == tar.TypeSymlink {
		return nil
	}
	if h.Typeflag == tar.TypeLink {
		var st unix.Stat_t
		if err := unix.Fstatat(parent, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil || st.Mode&unix.S_IFMT == unix.S_IFLNK {
			return err
		}
	}
	return unix.Fchmodat(parent, base, uint32(h.Mode&0o7777), 0) //nolint:gosec // 12 bits
}

// extended sets an entry's extended attributes, but for those that cannot be set here: what the file system does not know,
// what is for the engine alone, and user.* of what is neither file nor folder (xattr(7)).
func extended(h *tar.Header, set func(name string, value []byte) error) error {
	for key, value := range h.PAXRecords {
		name, ok := strings.CutPrefix(key, attribute)
		if !ok || strings.HasPrefix(name, "trusted.") {
			continue
		}
		err := set(name, []byte(value))
		special := h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeDir
		if err == nil || errors.Is(err, unix.ENOTSUP) || special && errors.Is(err, unix.EPERM) && strings.HasPrefix(name, "user.") {
			continue
		}
		return fmt.Errorf("set its attribute %q: %w", shortened(name), err)
	}
	return nil
}

// times are an entry's, of access and of change; those that no file system can have are the epoch's.
func times(h *tar.Header) [2]unix.Timespec {
	bound := func(t time.Time) unix.Timespec {
		if t.Before(time.Unix(0, 0)) || t.After(time.Unix(0, 1<<63-1)) {
			t = time.Unix(0, 0)
		}
		return unix.NsecToTimespec(t.UnixNano())
	}
	accessed := h.AccessTime
	if accessed.Before(h.ModTime) {
		accessed = h.ModTime
	}
	return [2]unix.Timespec{bound(accessed), bound(h.ModTime)}
}

// self is a path of a descriptor.
func self(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }
