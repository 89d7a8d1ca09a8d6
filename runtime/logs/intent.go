package logs

import (
	"encoding/binary"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// intent is the capture's note to the next engine. It lives in a memfd, so that noting costs well under a
// microsecond, and is written with one pwrite(2) that a kill cannot tear.
type intent struct {
	inode  uint64 // the file that end is about
	end    int64  // what is in that file beyond this is not valid
	left   uint64 // so many bytes at the end of the staging pipe are not recorded before end; those in front are
	stream string
}

const (
	intentSize = 32
	leftAll    = ^uint64(0) // nothing in the staging pipe is recorded
)

func (n intent) store(f *os.File) error {
	b := make([]byte, intentSize) // a size class of its own: does not cross a page
	binary.LittleEndian.PutUint64(b[0:], n.inode)
	binary.LittleEndian.PutUint64(b[8:], uint64(n.end))
	binary.LittleEndian.PutUint64(b[16:], n.left)
	b[24] = 1
	if n.stream == Stderr {
		b[24] = 2
	}
	if _, err := f.WriteAt(b, 0); err != nil {
		return fmt.Errorf("note log position: %w", err)
	}
	return nil
}

// loadIntent returns the note, if one was ever made.
func loadIntent(f *os.File) (n intent, ok bool, err error) {
	b := make([]byte, intentSize)
	if _, err := f.ReadAt(b, 0); err != nil {
		return n, false, fmt.Errorf("read log position: %w", err)
	}
	n.inode = binary.LittleEndian.Uint64(b[0:])
	n.end = int64(binary.LittleEndian.Uint64(b[8:]))
	n.left = binary.LittleEndian.Uint64(b[16:])
	n.stream = Stdout
	if b[24] == 2 {
		n.stream = Stderr
	}
	return n, b[24] != 0, nil
}

// newIntentFile returns an empty memfd for an intent.
func newIntentFile() (*os.File, error) {
	fd, err := unix.MemfdCreate("tutti-log", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), nameIntent)
	if err := f.Truncate(intentSize); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
