package files

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"golang.org/x/sys/unix"
)

// file makes a regular file that was not there, and writes it by its descriptor alone.
func (x *extraction) file(parent int, base string, in io.Reader, h *tar.Header) error {
	fd, err := unix.Openat(parent, base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	err = x.fill(fd, in, h.Size)
	if err == nil {
		err = x.attributes(fd, h)
	}
	if err == nil {
		atime, mtime := times(h)
		err = unix.UtimesNanoAt(unix.AT_FDCWD, self(fd), []unix.Timespec{atime, mtime}, 0)
	}
	return errors.Join(err, unix.Close(fd))
}

// hole is how many zeros in a row are not written but left out.
const hole = 4096

// fill writes what there is of an entry. Zeros become holes: a sparse file of the archive is one again, and takes no more
// space than it did.
func (x *extraction) fill(fd int, in io.Reader, size int64) error {
	buffer, zeros := make([]byte, 64<<10), make([]byte, hole)
	for at := int64(0); at < size; {
		if err := x.ctx.Err(); err != nil {
			return err
		}
		n, err := io.ReadFull(in, buffer[:min(int64(len(buffer)), size-at)])
		if err != nil {
			return fmt.Errorf("%w: it is cut off: %w", ErrArchive, err)
		}
		for part := range slices.Chunk(buffer[:n], hole) {
			if !bytes.Equal(part, zeros[:len(part)]) {
				if err := writeAt(fd, part, at); err != nil {
					return err
				}
			}
			at += int64(len(part))
		}
	}
	return unix.Ftruncate(fd, size)
}

func writeAt(fd int, data []byte, at int64) error {
	for len(data) > 0 {
		n, err := unix.Pwrite(fd, data, at)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		data, at = data[n:], at+int64(n)
	}
	return nil
}

// standard are the devices of every container's /dev, by major and minor number (devices.txt of the kernel); all are
// character devices.
var standard = [][2]int64{{1, 3}, {1, 5}, {1, 7}, {1, 8}, {1, 9}, {5, 0}, {5, 1}, {5, 2}}

// node makes a pipe, or one of the standard devices: another one would be a way to what no container should reach.
func (x *extraction) node(parent int, base string, h *tar.Header) error {
	mode, device := uint32(h.Mode&0o777), 0 //nolint:gosec // 9 bits
	switch {
	case h.Typeflag == tar.TypeFifo:
		mode |= unix.S_IFIFO
	case h.Typeflag == tar.TypeChar && slices.Contains(standard, [2]int64{h.Devmajor, h.Devminor}):
		mode |= unix.S_IFCHR
		device = int(unix.Mkdev(uint32(h.Devmajor), uint32(h.Devminor))) //nolint:gosec // of the list
	default:
		return fmt.Errorf("%w: the device %d:%d is none that every container has", ErrArchive, h.Devmajor, h.Devminor)
	}
	if err := unix.Mknodat(parent, base, mode, device); err != nil {
		return err
	}
	fd, err := unix.Openat(parent, base, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd) //nolint:errcheck // O_PATH descriptor
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT == unix.S_IFLNK {
		return err // a link has taken its place, whose mode is none
	}
	return unix.Chmod(self(fd), mode&0o777)
}
