package samples

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/console"
	"golang.org/x/sys/unix"
)

// terminal is a command that runs on a terminal of its own, and what that shows.
type terminal struct {
	t      testing.TB
	master console.Console
	tty    *os.File // held open, to look at its settings
	cmd    *exec.Cmd
	shown  lockedBuffer
	ended  chan error
	cancel context.CancelFunc
	before string // the terminal's settings
}

// onTerminal starts a command on a terminal of the given size, as the leader of its session.
func (s *site) onTerminal(width, height uint16, args ...string) *terminal {
	s.t.Helper()
	master, path, err := console.NewPty()
	if err != nil {
		s.t.Fatal(err)
	}
	x := &terminal{t: s.t, master: master, ended: make(chan error, 1)}
	x.resize(width, height)
	if x.tty, err = os.OpenFile(path, os.O_RDWR|syscall.O_NOCTTY, 0); err != nil {
		s.t.Fatal(err)
	}
	x.before = x.settings()
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		b := make([]byte, 4096)
		for {
			n, err := master.Read(b)
			_, _ = x.shown.Write(b[:n])
			if err != nil {
				return // EIO: nobody has the terminal open
			}
		}
	}()
	var ctx context.Context
	ctx, x.cancel = context.WithTimeout(context.Background(), s.timeout)
	command := append([]string{binary(s.t), "--root", s.root}, args...)
	if s.host != nil {
		command = s.host.command(s.dir, command)
	}
	x.cmd = exec.CommandContext(ctx, command[0], command[1:]...)
	x.cmd.Dir = s.dir
	x.cmd.Env = append(append(os.Environ(), "COMPOSE_ANSI=never"), s.environ...)
	x.cmd.Stdin, x.cmd.Stdout, x.cmd.Stderr = x.tty, x.tty, x.tty
	x.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := x.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() { x.ended <- x.cmd.Wait() }()
	s.t.Cleanup(func() {
		x.cancel()
		_ = x.tty.Close()
		<-copied
		_ = master.Close()
	})
	return x
}

// types sends keys.
func (x *terminal) types(keys string) {
	x.t.Helper()
	if _, err := x.master.Write([]byte(keys)); err != nil {
		x.t.Fatal(err)
	}
}

// until waits until the terminal shows a text.
func (x *terminal) until(text string) {
	x.t.Helper()
	eventually(x.t, commandTimeout, func() error {
		if !strings.Contains(x.shown.String(), text) {
			return fmt.Errorf("no %q on the terminal: %q", text, x.shown.String())
		}
		return nil
	})
}

// asks types a line again and again until the terminal shows a text.
func (x *terminal) asks(line, text string) {
	x.t.Helper()
	eventually(x.t, commandTimeout, func() error {
		x.types(line + "\n")
		time.Sleep(100 * time.Millisecond)
		if !strings.Contains(x.shown.String(), text) {
			return fmt.Errorf("no %q on the terminal: %q", text, x.shown.String())
		}
		return nil
	})
}

func (x *terminal) resize(width, height uint16) {
	x.t.Helper()
	if err := x.master.Resize(console.WinSize{Width: width, Height: height}); err != nil {
		x.t.Fatal(err)
	}
}

// wait waits for the command's end. The terminal must be as it was, then. It returns the exit code.
func (x *terminal) wait() int {
	x.t.Helper()
	var exit *exec.ExitError
	if err := <-x.ended; err != nil && !errors.As(err, &exit) {
		x.t.Fatal(err)
	}
	if after := x.settings(); after != x.before {
		x.t.Errorf("the terminal's settings were\n%s and are left as\n%s", x.before, after)
	}
	status := x.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}

// settings are the terminal's as text, termios(3).
func (x *terminal) settings() string {
	x.t.Helper()
	raw, err := x.tty.SyscallConn()
	if err != nil {
		x.t.Fatal(err)
	}
	var text string
	err = raw.Control(func(fd uintptr) {
		s, err := unix.IoctlGetTermios(int(fd), unix.TCGETS)
		text = fmt.Sprintf("%+v %v", s, err)
	})
	if err != nil {
		x.t.Fatal(err)
	}
	return text
}
