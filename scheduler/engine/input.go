package engine

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// stdinHolder is the name under which the keeper holds the open side of a container's standard input.
func stdinHolder(id string) string { return "stdin/" + id }

// heldStdin names the open side of a container's standard input among what the keeper holds.
const heldStdin = "stdin"

// input is the writing end of what a container reads: the pipe of its standard input, or its terminal. Each client writes
// through a descriptor of its own, so that one that has to wait, because the container does not read, can be called off
// without the others.
type input struct {
	mu      sync.Mutex
	file    *os.File // nil for a terminal, which is the supervision's
	writers map[*os.File]struct{}
	ended   bool
}

func newInput(file *os.File) *input { return &input{file: file, writers: map[*os.File]struct{}{}} }

// errInputEnded means that nothing can be written to the container any more.
var errInputEnded = errors.New("the container's input has ended")

// writer returns a descriptor of its own for a client; from is the terminal, or nil for the pipe.
func (i *input) writer(from *os.File) (*os.File, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if from == nil {
		from = i.file
	}
	if i.ended || from == nil {
		return nil, errInputEnded
	}
	w, err := duplicate(from)
	if err != nil {
		return nil, err
	}
	i.writers[w] = struct{}{}
	return w, nil
}

func (i *input) done(w *os.File) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.writers, w)
	_ = w.Close()
}

// end closes the input for everybody: the container reads its end.
func (i *input) end() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.ended = true
	for w := range i.writers {
		_ = w.Close() // also calls off who writes
	}
	clear(i.writers)
	if i.file != nil {
		_ = i.file.Close()
		i.file = nil
	}
}

// duplicate returns another descriptor of the same open file, with deadlines of its own.
func duplicate(f *os.File) (*os.File, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd := -1
	var dupErr error
	if err := raw.Control(func(old uintptr) { fd, dupErr = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		return nil, err
	}
	if dupErr != nil {
		return nil, os.NewSyscallError("fcntl", dupErr)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// input gives a container with stdin_open a standard input that does not end: the keeper holds its other side for as long
// as the container runs. A terminal is open anyway.
func (s *starter) input(context.Context) error {
	if !s.u.Config.StdinOpen || s.u.Config.TTY {
		return nil
	}
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return os.NewSyscallError("pipe2", err)
	}
	s.stdin = os.NewFile(uintptr(fds[0]), heldStdin)
	if err := unix.SetNonblock(fds[1], true); err != nil {
		return errors.Join(os.NewSyscallError("fcntl", err), unix.Close(fds[1]))
	}
	w := os.NewFile(uintptr(fds[1]), heldStdin)
	s.in = newInput(w)
	s.onUndo(func(context.Context) error {
		s.in.end()
		return s.e.keeper.Release(stdinHolder(s.u.ID))
	})
	return s.e.keeper.Hold(stdinHolder(s.u.ID), map[string]*os.File{heldStdin: w})
}

// takeInput finds the input of a container that an earlier engine started; nil when it has none, or it has ended.
func (e *Engine) takeInput(u *Unit) (*input, error) {
	switch {
	case !u.Config.StdinOpen:
		return nil, nil //nolint:nilnil // none is an answer
	case u.Config.TTY:
		return newInput(nil), nil
	}
	held, err := e.keeper.Take(stdinHolder(u.ID))
	if err != nil || held[heldStdin] == nil {
		return nil, err
	}
	return newInput(held[heldStdin]), nil
}

// endInput closes the standard input of a container for good, for this engine and those that come.
func (e *Engine) endInput(u *Unit, in *input) {
	in.end()
	if err := e.keeper.Release(stdinHolder(u.ID)); err != nil {
		e.Log.Error("close the standard input", "container", u.Name(), "error", err)
	}
}

// plainCopy is io.Copy by reading and writing: splice(2) would gain nothing here and keeps pipes for later.
func plainCopy(to io.Writer, from io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{to}, struct{ io.Reader }{from})
}

// feed copies what a client types into a container until the client's end, or the container's. With StdinOnce the end of
// the client's input is the end of the container's. It returns when ctx is done, too, if the client's reader ends then.
func (e *Engine) feed(ctx context.Context, l *life, from io.Reader) {
	if l.in == nil {
		return
	}
	w, err := l.in.writer(l.console)
	if err != nil {
		return // it ended meanwhile
	}
	defer l.in.done(w)
	stop := context.AfterFunc(ctx, func() { l.in.done(w) })
	defer stop()
	_, _ = plainCopy(w, from) // the container has ended, or the client has gone
	if l.u.Config.StdinOnce && !l.u.Config.TTY {
		e.endInput(l.u, l.in)
	}
}
