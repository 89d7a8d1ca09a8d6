package oci

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// attached is a process in the foreground: a container's first, or one of exec.
type attached interface {
	Kill(sig syscall.Signal) error
	Resize(width, height uint16) error
}

// terminal connects this program's terminal and signals with a process in a container.
type terminal struct {
	console *os.File // nil: the process has our streams themselves
	restore func()
	stop    func() // ends the forwarding of signals
	output  chan struct{}
	once    sync.Once
}

// drainTime is how long a terminal is read after its process has ended: what was
// written is there already, and others may hold the other end open for ever.
const drainTime = 100 * time.Millisecond

// attach begins to forward signals and, with a console, keys, output and sizes.
func attach(console *os.File, p attached) (*terminal, error) {
	t := &terminal{console: console, restore: func() {}, output: make(chan struct{})}
	if console == nil {
		close(t.output)
		t.stop = forward(p)
		return t, nil
	}
	if fd := int(os.Stdin.Fd()); term.IsTerminal(fd) {
		state, err := term.MakeRaw(fd)
		if err != nil {
			return nil, fmt.Errorf("set the terminal to raw mode: %w", err)
		}
		t.restore = func() { _ = term.Restore(fd, state) }
	}
	resize(p)
	// A read of standard input cannot be called off: it ends with this program.
	go func() {
		if _, err := io.Copy(console, os.Stdin); err == nil {
			_, _ = console.Write([]byte{4}) // the end of a file is Ctrl-D to a terminal
		}
	}()
	go func() {
		defer close(t.output)
		_, _ = io.Copy(os.Stdout, console) // ends with EIO when the last holder of the other end is gone
	}()
	t.stop = forward(p)
	return t, nil
}

// detach undoes attach once the process has ended and its output is through.
func (t *terminal) detach() {
	t.once.Do(func() {
		t.stop()
		if t.console != nil {
			_ = t.console.SetReadDeadline(time.Now().Add(drainTime))
			<-t.output
			_ = t.console.Close()
		}
		t.restore()
	})
}

func resize(p attached) {
	if size, err := unix.IoctlGetWinsize(int(os.Stdout.Fd()), unix.TIOCGWINSZ); err == nil {
		_ = p.Resize(size.Col, size.Row) // the process may have ended
	}
}

// forward sends this program's signals to the process until stop is called.
func forward(p attached) (stop func()) {
	signals := make(chan os.Signal, 64)
	signal.Notify(signals)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for s := range signals {
			switch sig, _ := s.(syscall.Signal); sig {
			case syscall.SIGWINCH:
				resize(p)
			case syscall.SIGCHLD, syscall.SIGURG, syscall.SIGPIPE, syscall.SIGTTIN, syscall.SIGTTOU: // our own
			default:
				_ = p.Kill(sig) // the process may have ended
			}
		}
	}()
	return func() {
		signal.Stop(signals)
		close(signals)
		<-done
	}
}
