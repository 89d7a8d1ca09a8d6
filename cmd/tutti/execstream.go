package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"golang.org/x/term"

	"tutti/scheduler/api"
)

// exec runs a process in a container and passes its exit code on.
func (a *app) exec(ctx context.Context, c *api.Client, containerID string, f *execFlags) error {
	var size *[2]uint
	if fd, ok := terminal(a.out); ok && f.Tty {
		w, h := terminalSize(fd)
		size = &[2]uint{uint(h), uint(w)}
	}
	f.ConsoleSize = size
	var created container.ExecCreateResponse
	if err := c.Call(ctx, http.MethodPost, "/containers/"+containerID+"/exec", f.ExecCreateRequest, &created); err != nil {
		return err
	}
	path := "/exec/" + created.ID
	start := container.ExecStartRequest{Detach: f.detach, Tty: f.Tty, ConsoleSize: size}
	if f.detach {
		return c.Call(ctx, http.MethodPost, path+"/start", start, nil)
	}
	conn, r, err := c.Hijack(ctx, path+"/start", start)
	if err != nil {
		return err
	}
	if err := a.stream(ctx, c, path, conn, r, f); err != nil {
		return err
	}
	var done container.ExecInspectResponse
	if err := c.Call(ctx, http.MethodGet, path+"/json", nil, &done); err != nil {
		return err
	}
	if done.ExitCode != nil && *done.ExitCode != 0 {
		return &exitError{code: *done.ExitCode}
	}
	return nil
}

// stream connects the process with our streams until its output ends. A terminal is raw meanwhile, and as it was after.
func (a *app) stream(ctx context.Context, c *api.Client, path string, conn *net.UnixConn, r *bufio.Reader, f *execFlags) error {
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if f.Tty {
		restore, err := a.rawTerminal()
		if err != nil {
			return err
		}
		defer restore()
		sizes, cancel := context.WithCancel(ctx)
		defer cancel()
		resized := make(chan struct{})
		go func() { defer close(resized); a.followSize(sizes, c, path) }()
		defer func() { cancel(); <-resized }()
	}
	if f.AttachStdin {
		// Nobody waits for this goroutine: a read from the terminal cannot be called off, it ends with this program.
		go func() {
			_, err := io.Copy(conn, a.in)
			if err == nil {
				conn.CloseWrite() //nolint:errcheck // the process has ended
			}
		}()
	}
	var err error
	if f.Tty {
		_, err = io.Copy(a.out, r)
	} else {
		_, err = stdcopy.StdCopy(a.out, a.err, r)
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil && !errors.Is(err, io.EOF):
		return fmt.Errorf("read the output of the process: %w", err)
	}
	return nil
}

// rawTerminal hands every key to the process: Ctrl-C is its business now.
func (a *app) rawTerminal() (restore func(), err error) {
	fd, ok := terminal(a.in)
	if !ok {
		return func() {}, nil
	}
	state, err := term.MakeRaw(fd)
	if err != nil {
		return nil, fmt.Errorf("set the terminal to raw mode: %w", err)
	}
	return func() { term.Restore(fd, state) }, nil //nolint:errcheck // nothing else would help
}

// followSize tells the process the size of the window, at once and at every change.
func (a *app) followSize(ctx context.Context, c *api.Client, path string) {
	fd, ok := terminal(a.out)
	if !ok {
		return
	}
	changes := make(chan os.Signal, 1)
	signal.Notify(changes, syscall.SIGWINCH)
	defer signal.Stop(changes)
	for {
		w, h := terminalSize(fd)
		// A process that has just ended cannot be resized, and nothing is lost.
		c.Call(ctx, http.MethodPost, fmt.Sprintf("%s/resize?h=%d&w=%d", path, h, w), nil, nil) //nolint:errcheck // see above
		select {
		case <-ctx.Done():
			return
		case <-changes:
		}
	}
}
