package relay

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Control is an end of the control socket: non-blocking, SOCK_SEQPACKET.
type Control struct{ file *os.File }

// NewControl takes a descriptor over.
func NewControl(fd int) *Control { return &Control{os.NewFile(uintptr(fd), "control")} } //nolint:gosec // a descriptor

// File is the socket. It stays the control's.
func (c *Control) File() *os.File { return c.file }

// Close closes this end.
func (c *Control) Close() error { return c.file.Close() }

// Send sends a message, with a duplicate of a socket if that is not -1.
func (c *Control) Send(m Message, socket int) error {
	var oob []byte
	if socket >= 0 {
		oob = unix.UnixRights(socket)
	}
	return wait(c.file, true, func(fd int) error {
		return unix.Sendmsg(fd, []byte(m.String()), oob, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
	})
}

// Receive waits for a message, and the file that came with it or nil. When the other end is closed it fails.
func (c *Control) Receive() (m Message, file *os.File, err error) {
	packet, oob := make([]byte, MaxMessage), make([]byte, unix.CmsgSpace(4))
	var n, oobn int
	err = wait(c.file, false, func(fd int) (err error) {
		n, oobn, _, _, err = unix.Recvmsg(fd, packet, oob, unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
		return err
	})
	if err != nil {
		return m, nil, err
	}
	if n == 0 {
		return m, nil, unix.ECONNRESET
	}
	controls, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err == nil && len(controls) == 1 {
		var fds []int
		if fds, err = unix.ParseUnixRights(&controls[0]); err == nil && len(fds) == 1 {
			file = os.NewFile(uintptr(fds[0]), "port") //nolint:gosec // a descriptor
		}
	}
	if m, err = Parse(string(packet[:n])); err != nil {
		closeFile(file)
		file = nil
	}
	return m, file, err
}

// wait makes a system call on a non-blocking file until it does not fail with EAGAIN, and returns its error. Reading and
// writing each have the file's deadline.
func wait(f *os.File, write bool, call func(fd int) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	try := func(fd uintptr) bool {
		for {
			if result = call(int(fd)); !errors.Is(result, unix.EINTR) { //nolint:gosec // a descriptor
				return !errors.Is(result, unix.EAGAIN)
			}
		}
	}
	if write {
		err = raw.Write(try)
	} else {
		err = raw.Read(try)
	}
	switch {
	case err == nil:
		return result
	case errors.Is(err, os.ErrDeadlineExceeded):
		return err
	default:
		return os.ErrClosed // which the poller has another error for
	}
}

// once makes a system call on a file, whoever else waits for it.
func once(f *os.File, call func(fd int) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	err = raw.Control(func(fd uintptr) { result = call(int(fd)) }) //nolint:gosec // a descriptor
	return errors.Join(err, result)
}
