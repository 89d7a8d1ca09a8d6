package main

import (
	"syscall"

	"golang.org/x/sys/unix"

	"tutti/runtime/wire"
)

// stepError is a failed step of the set-up: what was being done, and why it failed.
type stepError struct {
	step   string
	err    error
	detail string
	exec   bool
}

func (e *stepError) Error() string { return e.step }

func failed(step string, err error) error { return &stepError{step: step, err: err} }

func refused(step, detail string) error { return &stepError{step: step, detail: detail} }

// control is init's end of the socket to the engine.
type control struct{ fd int }

// readFull fills b from the socket.
func (c *control) readFull(b []byte) error {
	for len(b) > 0 {
		n, err := unix.Read(c.fd, b)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		if n == 0 {
			return unix.EPIPE
		}
		b = b[n:]
	}
	return nil
}

// read takes the next frame, which must be of the kind given.
func (c *control) read(kind byte) ([]byte, error) {
	var h [wire.HeaderSize]byte
	if err := c.readFull(h[:]); err != nil {
		return nil, err
	}
	k, n, ok := wire.ParseHeader(h)
	if !ok || k != kind {
		return nil, unix.EPROTO
	}
	b := make([]byte, n)
	return b, c.readFull(b)
}

func (c *control) readConfig(cfg *wire.Config) error {
	b, err := c.read(wire.FrameConfig)
	if err != nil {
		return err
	}
	if !cfg.Unmarshal(b) {
		return unix.EPROTO
	}
	return nil
}

// send writes one frame; oob carries descriptors.
func (c *control) send(kind byte, payload, oob []byte) error {
	h := wire.Header(kind, len(payload))
	b := append(h[:], payload...)
	n, err := unix.SendmsgN(c.fd, b, oob, nil, unix.MSG_NOSIGNAL)
	if err == nil && n < len(b) {
		err = unix.EMSGSIZE // frames of init are far smaller than the socket's buffer
	}
	return err
}

// ready tells the engine that only execve is left, and waits for its word: on this
// socket, or with a listener from whoever connects to it.
func (c *control) ready(listener int) error {
	if err := c.send(wire.FrameReady, nil, nil); err != nil {
		return failed("report readiness", err)
	}
	if listener != 0 {
		return c.accept(listener)
	}
	if _, err := c.read(wire.FrameStart); err != nil {
		return failed("wait for the start", err) // the engine is gone
	}
	return nil
}

// accept waits for a connection that brings the start, and goes on with that one.
// Others only ask whether somebody still listens here.
func (c *control) accept(listener int) error {
	_ = unix.Close(c.fd)
	for {
		fd, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
		if err == unix.EINTR || err == unix.ECONNABORTED {
			continue
		}
		if err != nil {
			return failed("wait for the start", err)
		}
		c.fd = fd
		if _, err := c.read(wire.FrameStart); err == nil {
			return nil
		}
		_ = unix.Close(fd)
	}
}

// askHooks lets the engine run its hooks.
func (c *control) askHooks() error {
	if err := c.send(wire.FrameHooks, nil, nil); err != nil {
		return failed("ask for hooks", err)
	}
	if _, err := c.read(wire.FrameGoOn); err != nil {
		return failed("wait for hooks", err)
	}
	return nil
}

// preserve puts descriptors that the program is to have at 3, 4 ... and the socket
// out of their way.
func (c *control) preserve(cfg *wire.Config) error {
	if cfg.Preserve == 0 {
		return nil
	}
	fd, err := unix.FcntlInt(uintptr(c.fd), unix.F_DUPFD_CLOEXEC, int(cfg.PreserveFD+cfg.Preserve))
	if err != nil {
		return failed("preserve descriptors", err)
	}
	c.fd = fd
	for i := range int(cfg.Preserve) {
		// The sources are all higher than their targets: none is overwritten before its turn.
		if err := unix.Dup3(int(cfg.PreserveFD)+i, wire.ControlFD+i, 0); err != nil {
			return failed("preserve descriptors", err)
		}
	}
	return nil
}

// fail reports err to the engine.
func (c *control) fail(err error) {
	f := wire.Failure{Step: err.Error()}
	if e, ok := err.(*stepError); ok {
		f.Detail, f.Exec = e.detail, e.exec
		if no, ok := e.err.(syscall.Errno); ok {
			f.Errno = uint32(no)
		} else if e.err != nil {
			f.Detail = e.err.Error()
		}
	}
	_ = c.send(wire.FrameError, f.Marshal(), nil)
}
