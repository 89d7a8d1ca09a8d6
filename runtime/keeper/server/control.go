package server

import (
	"golang.org/x/sys/unix"

	"tutti/runtime/keeper/wire"
)

// waiters are the starters connected to the control socket that have not got an answer yet. When the keeper
// exits without one they read EOF and start a new keeper.
type waiters []int

// accept takes the connections that have arrived.
func (w *waiters) accept(listener int) {
	for {
		fd, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
		if err == unix.EINTR || err == unix.ECONNABORTED {
			continue
		}
		if err != nil {
			return
		}
		*w = append(*w, fd)
	}
}

// answer tells all of them that the engine is ready, or why it is not (text). A starter that is gone, or a
// text that its socket does not take, is nothing to wait for.
func (w *waiters) answer(verdict byte, text string) {
	for _, fd := range *w {
		_ = unix.Sendto(fd, append([]byte{verdict}, text...), unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT, nil)
		unix.Close(fd)
	}
	*w = nil
}

func (k *keeper) answerIfReady() {
	if k.engine.ready {
		k.waiters.answer(wire.Ready, "")
	}
}
