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
func (s *socket) send(m wire.Message, fds []int) error {
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	packet := m.Append(nil)
	var sent error
	err := s.raw.Write(func(fd uintptr) bool {
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

// sendParts sends m in as many messages as its files need.
func (s *socket) sendParts(m wire.Message, fds []int) error {
	names := m.Names
	for m.More = true; m.More; {
		n := min(len(names), wire.MaxFiles)
		part := fds[:n]
		m.Names, names, fds = names[:n], names[n:], fds[n:]
		m.More = len(names) > 0
		if err := s.send(m, part); err != nil {
			return err
		}
	}
	return nil
}

// receive waits for the next message, with the descriptors that came with it.
func (s *socket) receive() (wire.Message, []int, error) {
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
	controls, err := unix.ParseSocketControlMessage(s.oob[:oobn])
	if err != nil {
		return wire.Message{}, nil, fmt.Errorf("parse control message: %w", err)
	}
	var fds []int
	for i := range controls {
		if some, err := unix.ParseUnixRights(&controls[i]); err == nil {
			fds = append(fds, some...)
		}
	}
	m, err := wire.Parse(s.in[:n])
	return m, fds, err
}
