package unpack

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// maxKept is how many bytes of names and times are kept in memory.
const maxKept = 1 << 20

// headSize is what stands before the name in a record, little-endian: the name's length in 2 bytes, the times of access and
// of change in 8 each, in nanoseconds.
const headSize = 2 + 8 + 8

// folderTimes are the times of a layer's folders, in the order of the layer, which are set when all is written: each file
// that is put into a folder changes them. A layer can have a million folders, so what does not fit into maxKept bytes goes
// into a file without a name.
type folderTimes struct {
	temp string // a folder for it
	kept []byte // records
	file *os.File
}

func (f *folderTimes) add(name string, at [2]unix.Timespec) error {
	var head [headSize]byte
	binary.LittleEndian.PutUint16(head[:], uint16(len(name)))      //nolint:gosec // PATH_MAX and a slash at most
	binary.LittleEndian.PutUint64(head[2:], uint64(at[0].Nano()))  //nolint:gosec // not before the epoch
	binary.LittleEndian.PutUint64(head[10:], uint64(at[1].Nano())) //nolint:gosec // not before the epoch
	f.kept = append(append(f.kept, head[:]...), name...)
	if len(f.kept) < maxKept {
		return nil
	}
	if f.file == nil {
		file, err := os.CreateTemp(f.temp, "folders-")
		if err != nil {
			return err
		}
		f.file = file
		if err := os.Remove(file.Name()); err != nil {
			return err
		}
	}
	_, err := f.file.Write(f.kept)
	f.kept = f.kept[:0]
	return err
}

// each calls set for all folders.
func (f *folderTimes) each(set func(name string, at [2]unix.Timespec) error) error {
	var all io.Reader = bytes.NewReader(f.kept)
	if f.file != nil {
		if _, err := f.file.Seek(0, io.SeekStart); err != nil {
			return err
		}
		all = io.MultiReader(f.file, all)
	}
	in := bufio.NewReader(all)
	for {
		var head [headSize]byte
		if _, err := io.ReadFull(in, head[:]); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read the times of folders: %w", err)
		}
		name := make([]byte, binary.LittleEndian.Uint16(head[:]))
		if _, err := io.ReadFull(in, name); err != nil {
			return fmt.Errorf("read the times of folders: %w", err)
		}
		at := func(b []byte) unix.Timespec { return unix.NsecToTimespec(int64(binary.LittleEndian.Uint64(b))) } //nolint:gosec // as it was
		if err := set(string(name), [2]unix.Timespec{at(head[2:]), at(head[10:])}); err != nil {
			return err
		}
	}
}

func (f *folderTimes) close() error {
	if f.file == nil {
		return nil
	}
	return f.file.Close()
}
