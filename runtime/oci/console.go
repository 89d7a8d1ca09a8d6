package oci

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// sendConsole hands a terminal's master over a unix socket, as runc does
// (docs/terminals.md there): one message with the descriptor and a name.
func sendConsole(socket string, master *os.File) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("console socket: %w", err)
	}
	defer unix.Close(fd) //nolint:errcheck // the message is sent, or its error known
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: socket}); err != nil {
		return fmt.Errorf("connect to console socket %s: %w", socket, err)
	}
	// Whoever gets it expects a blocking descriptor; this process no longer reads it.
	conn, err := master.SyscallConn()
	if err != nil {
		return fmt.Errorf("console socket: %w", err)
	}
	var serr error
	err = conn.Control(func(m uintptr) {
		if serr = unix.SetNonblock(int(m), false); serr == nil {
			serr = unix.Sendmsg(fd, []byte("/dev/ptmx"), unix.UnixRights(int(m)), nil, unix.MSG_NOSIGNAL)
		}
	})
	if err == nil {
		err = serr
	}
	if err != nil {
		return fmt.Errorf("send terminal to console socket %s: %w", socket, err)
	}
	return nil
}
