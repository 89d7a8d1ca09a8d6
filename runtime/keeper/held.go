package keeper

import (
	"cmp"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// held are descriptors of this process's own for the files that the keeper holds under an id, by name.
type held map[string]int

// replace takes over other's descriptors; those of names that it has are closed. It does nothing for a nil map.
func (h held) replace(other held) {
	if h == nil {
		return
	}
	for name, fd := range other {
		if old, ok := h[name]; ok {
			_ = unix.Close(old)
		}
		h[name] = fd
	}
}

func (h held) close() {
	for _, fd := range h {
		_ = unix.Close(fd)
	}
}

// duplicates returns a descriptor of its own for each file.
func duplicates(names []string, files map[string]*os.File) (held, error) {
	all := make(held, len(names))
	for _, name := range names {
		fd, err := duplicate(files[name])
		if err != nil {
			all.close()
			return nil, err
		}
		all[name] = fd
	}
	return all, nil
}

// duplicate returns a descriptor of its own for what f is open on.
func duplicate(f *os.File) (fd int, err error) {
	own, err := descriptor(f)
	if err == nil {
		fd, err = unix.FcntlInt(uintptr(own), unix.F_DUPFD_CLOEXEC, 0)
	}
	if err != nil {
		return -1, fmt.Errorf("duplicate %s: %w", f.Name(), err)
	}
	return fd, nil
}

// descriptors are the numbers of the files, in the order of names, valid as long as those are open.
func descriptors(names []string, files map[string]*os.File) ([]int, error) {
	fds := make([]int, len(names))
	for i, name := range names {
		fd, err := descriptor(files[name])
		if err != nil {
			return nil, fmt.Errorf("descriptor of %s: %w", name, err)
		}
		fds[i] = fd
	}
	return fds, nil
}

// descriptor is f's number. Unlike f.Fd, asking for it leaves the file non-blocking.
func descriptor(f *os.File) (fd int, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return -1, err
	}
	failed := raw.Control(func(n uintptr) { fd = int(n) })
	return fd, cmp.Or(err, failed)
}

func closeFiles(files map[string]*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}

func closeAll(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
}
