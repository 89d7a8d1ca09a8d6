package runtime

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tutti/runtime/wire"
)

// control is the engine's end of the socket to one init; package wire draws what
// is said on it.
type control struct {
	f       *os.File
	pending []byte
	console *os.File // received and not taken yet

	received []*os.File // descriptors whose frames have not been read yet
	entered  child      // of an exec: the program's process
}

// newControl returns the engine's end and the descriptor for init.
func newControl() (*control, *os.File, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make socket to init: %w", err)
	}
	child := os.NewFile(uintptr(pair[1]), "init")
	if err := unix.SetNonblock(pair[0], true); err != nil {
		_ = unix.Close(pair[0])
		_ = child.Close()
		return nil, nil, fmt.Errorf("make socket to init: %w", err)
	}
	return &control{f: os.NewFile(uintptr(pair[0]), "init")}, child, nil
}

// bound makes reads and writes fail when ctx ends, until the returned function is called.
func (c *control) bound(ctx context.Context) (release func() bool) {
	return context.AfterFunc(ctx, func() { _ = c.f.SetDeadline(time.Unix(1, 0)) })
}

func (c *control) send(frames []byte) error {
	if _, err := c.f.Write(frames); err != nil {
		return fmt.Errorf("write to init: %w", err)
	}
	return nil
}

func frame(kind byte, payload []byte) []byte {
	h := wire.Header(kind, len(payload))
	return append(h[:], payload...)
}

// next returns the next frame. The end of the stream is io.EOF, a FrameError the
// error that it describes. A FrameConsole is kept in c.console.
func (c *control) next() (kind byte, err error) {
	for {
		kind, payload, ok, err := c.take()
		if err != nil {
			return 0, err
		}
		if ok {
			if kind == wire.FrameError {
				return 0, initFailure(payload)
			}
			return kind, c.accompany(kind, payload)
		}
		if err := c.receive(); err != nil {
			return 0, err
		}
	}
}

// accompany takes the descriptor that came with a frame.
func (c *control) accompany(kind byte, payload []byte) error {
	if kind != wire.FrameConsole && kind != wire.FrameEntered {
		return nil
	}
	if len(c.received) == 0 {
		return errors.New("init sent no descriptor")
	}
	f := c.received[0]
	c.received = c.received[1:]
	if kind == wire.FrameConsole {
		conn, err := pollable(f)
		c.console = conn
		return err
	}
	if len(payload) != 4 {
		_ = f.Close()
		return errors.New("init sent a malformed message")
	}
	c.entered = child{pid: int(binary.LittleEndian.Uint32(payload)), pidfd: f}
	return nil
}

// take removes one whole frame from what was received.
func (c *control) take() (kind byte, payload []byte, ok bool, err error) {
	if len(c.pending) < wire.HeaderSize {
		return 0, nil, false, nil
	}
	kind, n, ok := wire.ParseHeader([wire.HeaderSize]byte(c.pending))
	if !ok {
		return 0, nil, false, errors.New("init sent a malformed message")
	}
	if len(c.pending) < wire.HeaderSize+n {
		return 0, nil, false, nil
	}
	payload = c.pending[wire.HeaderSize : wire.HeaderSize+n]
	c.pending = c.pending[wire.HeaderSize+n:]
	return kind, payload, true, nil
}

func (c *control) receive() error {
	conn, err := c.f.SyscallConn()
	if err != nil {
		return err
	}
	buf, oob := make([]byte, 4096), make([]byte, unix.CmsgSpace(4))
	var n, oobn int
	var rerr error
	err = conn.Read(func(fd uintptr) bool {
		n, oobn, _, _, rerr = unix.Recvmsg(int(fd), buf, oob, unix.MSG_CMSG_CLOEXEC)
		return rerr != unix.EAGAIN
	})
	if err == nil {
		err = rerr
	}
	if errors.Is(err, unix.ECONNRESET) { // ended with something of ours unread
		return io.EOF
	}
	if err != nil {
		return fmt.Errorf("read from init: %w", err)
	}
	if oobn > 0 {
		if err := c.receiveFiles(oob[:oobn]); err != nil {
			return err
		}
	}
	if n == 0 {
		return io.EOF
	}
	c.pending = append(c.pending, buf[:n]...)
	return nil
}

func (c *control) receiveFiles(oob []byte) error {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return fmt.Errorf("read descriptor from init: %w", err)
	}
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			return fmt.Errorf("read descriptor from init: %w", err)
		}
		for _, fd := range fds {
			c.received = append(c.received, os.NewFile(uintptr(fd), "from init"))
		}
	}
	return nil
}

// pollable makes reads of a descriptor go through the poller: a blocked one ends when the file is closed.
func pollable(f *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	_ = f.Close()
	if err != nil {
		return nil, fmt.Errorf("read terminal from init: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("read terminal from init: %w", err)
	}
	return os.NewFile(uintptr(fd), "console"), nil
}

// takeConsole hands over the terminal's master, if one came.
func (c *control) takeConsole() *os.File {
	f := c.console
	c.console = nil
	return f
}

func (c *control) close() {
	_ = c.f.Close()
	for _, f := range append(c.received, c.console, c.entered.pidfd) {
		if f != nil {
			_ = f.Close()
		}
	}
}

// initError is a step of init that failed, as init described it.
type initError struct {
	text  string
	kinds []error
}

func (e *initError) Error() string   { return e.text }
func (e *initError) Unwrap() []error { return e.kinds }

func initFailure(payload []byte) error {
	var f wire.Failure
	if !f.Unmarshal(payload) {
		return errors.New("init sent a malformed message")
	}
	e := &initError{text: f.Step}
	errno := syscall.Errno(f.Errno)
	switch {
	case f.Detail != "":
		e.text += ": " + f.Detail
	case f.Errno != 0:
		e.text += ": " + errno.Error()
	}
	if f.Errno != 0 {
		e.kinds = append(e.kinds, errno)
	}
	if f.Exec {
		kind := ErrPermission
		if errno == syscall.ENOENT {
			kind = ErrNotFound
		}
		e.kinds = append(e.kinds, kind)
	}
	return e
}
