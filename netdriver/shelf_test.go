package netdriver

import (
	"errors"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// shelf is a keeper of sockets without a process of its own.
type shelf struct {
	mu   sync.Mutex
	held map[string]map[string]*os.File
}

func (s *shelf) Hold(id string, files map[string]*os.File) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held[id] == nil {
		s.held[id] = map[string]*os.File{}
	}
	for name, f := range files {
		var err error
		if s.held[id][name], err = duplicate(f, name); err != nil {
			return err
		}
	}
	return nil
}

func (s *shelf) Take(id string) (map[string]*os.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	files := map[string]*os.File{}
	for name, f := range s.held[id] {
		var err error
		if files[name], err = duplicate(f, name); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// duplicate does not ask for f.Fd, which would make the socket block for all who have it.
func duplicate(f *os.File, name string) (*os.File, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	var fd int
	var failure error
	if err := raw.Control(func(open uintptr) { fd, failure = unix.FcntlInt(open, unix.F_DUPFD_CLOEXEC, 0) }); err != nil || failure != nil {
		return nil, errors.Join(err, failure)
	}
	return os.NewFile(uintptr(fd), name), nil
}

func (s *shelf) Sync() error { return nil }

func (s *shelf) Release(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.held[id] {
		_ = f.Close()
	}
	delete(s.held, id)
	return nil
}
