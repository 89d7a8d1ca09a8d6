package keeper

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"tutti/runtime/keeper/wire"
)

// socket sends and receives messages on a SOCK_SEQPACKET descriptor through Go's poller.
type socket struct {
	file *os.File
	raw  syscall.RawConn
	in   []byte // of the only reader
	oob  []byte
}

func newSocket(fd int) (*socket, error) {
	unix.CloseOnExec(fd)
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	file := os.NewFile(uintptr(fd), "keeper")
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, err
	}
	return &socket{
		file: file, raw: raw,
		in: make([]byte, wire.MaxMessage), oob: make([]byte, unix.CmsgSpace(4*wire.MaxFiles)),
	}, nil
}

func (s *socket) close() error { return s.file.Close() }

// send puts m into the socket's buffer, from which the keeper reads it also after this process has died.
func (s *socket) send(m wire.Message, files []*os.File) error {
	oob, err := rightsOf(files)
	if err != nil {
		return err
	}
	packet := m.Append(nil)
	var sent error
	err = s.raw.Write(func(fd uintptr) bool {
		for {
			sent = unix.Sendmsg(int(fd), packet, oob, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
			if sent != unix.EINTR {
				return sent != unix.EAGAIN
			}
		}
	})
	switch {
	case errors.Is(err, os.ErrClosed), sent == unix.EPIPE, sent == unix.ECONNRESET:
		return ErrLost
	case err != nil:
		return err
	case sent != nil:
		return os.NewSyscallError("sendmsg", sent)
	}
	return nil
}

func rightsOf(files []*os.File) ([]byte, error) {
	if len(files) == 0 {
		return nil, nil
	}
	fds := make([]int, len(files))
	for i, f := range files {
		raw, err := f.SyscallConn() // unlike Fd, leaves the file non-blocking
		if err != nil {
			return nil, fmt.Errorf("hold %s: %w", f.Name(), err)
		}
		if err := raw.Control(func(fd uintptr) { fds[i] = int(fd) }); err != nil {
			return nil, fmt.Errorf("hold %s: %w", f.Name(), err)
		}
	}
	return unix.UnixRights(fds...), nil
}

// receive waits for the next message. The files that came with it are named by it.
func (s *socket) receive() (wire.Message, []*os.File, error) {
	var n, oobn int
	var got error
	err := s.raw.Read(func(fd uintptr) bool {
		for {
			n, oobn, _, _, got = unix.Recvmsg(int(fd), s.in, s.oob, unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
			if got != unix.EINTR {
				return got != unix.EAGAIN
			}
		}
	})
	if err != nil || got != nil || n == 0 {
		return wire.Message{}, nil, ErrLost
	}
	var fds []int
	controls, err := unix.ParseSocketControlMessage(s.oob[:oobn])
	if err != nil {
		return wire.Message{}, nil, fmt.Errorf("parse control message: %w", err)
	}
	for i := range controls {
		if some, err := unix.ParseUnixRights(&controls[i]); err == nil {
			fds = append(fds, some...)
		}
	}
	m, err := wire.Parse(s.in[:n])
	files := make([]*os.File, len(fds))
	for i, fd := range fds {
		name := ""
		if i < len(m.Names) {
			name = m.Names[i]
		}
		files[i] = os.NewFile(uintptr(fd), name)
	}
	return m, files, err
}
