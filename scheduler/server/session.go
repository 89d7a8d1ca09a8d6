package server

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"tutti/runtime"
	"tutti/scheduler/api"
	"tutti/scheduler/engine"
)

// sessionRoutes are the project verbs that end with the client connected to a process, see api.Session.
func (s *server) sessionRoutes(mux *http.ServeMux) {
	session(mux, "run", func(ctx context.Context, q api.RunRequest, x *sessionConn) (int, error) {
		return s.e.Run(ctx, q, x.event, x.begun, x.streams(q.OneOff.Interactive && !q.Detach))
	})
	session(mux, "attach", func(ctx context.Context, q api.AttachRequest, x *sessionConn) (int, error) {
		if q.Start {
			return s.e.StartAttached(engine.WithVerb(ctx, "start"), q.Container, q.Size, x.begun, x.streams(q.Stdin))
		}
		o := engine.AttachTo{Resume: q.Resume, Begun: x.begun}
		return s.e.Attach(ctx, q.Container, o, x.streams(q.Stdin))
	})
	session(mux, "exec", func(ctx context.Context, q api.ExecRequest, x *sessionConn) (int, error) {
		return s.exec(ctx, q, x)
	})
}

// sessionConn is one session's connection.
type sessionConn struct {
	conn *takenConn
	mu   sync.Mutex
}

// session serves a request whose answer is a session.
func session[Request any](mux *http.ServeMux, name string, do func(context.Context, Request, *sessionConn) (int, error)) {
	mux.HandleFunc("POST "+api.Prefix+"/"+name, func(w http.ResponseWriter, r *http.Request) {
		q, ok := read[Request](w, r)
		if !ok {
			return
		}
		conn, err := take(w)
		if err != nil {
			fail(w, http.StatusInternalServerError, err)
			return
		}
		defer conn.Close()
		ctx, stop := conn.untilGone(r.Context())
		defer stop()
		x := &sessionConn{conn: conn}
		upgrade(conn, r)
		code, err := do(ctx, q, x)
		end := api.End{Code: code}
		if err != nil {
			end.Error = err.Error()
		}
		x.send(api.FrameEnd, end)
	})
}

func (x *sessionConn) event(e api.Event) { x.send(api.FrameEvent, e) }
func (x *sessionConn) begun(b api.Begun) { x.send(api.FrameBegun, b) }

// send sends a value; a client that has gone is noticed elsewhere.
func (x *sessionConn) send(k api.FrameKind, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		b = fmt.Appendf(nil, `{"error":%q}`, err.Error())
	}
	_, _ = (&framed{&x.mu, x.conn, byte(k)}).Write(b)
}

func (x *sessionConn) streams(stdin bool) engine.Streams {
	s := engine.Streams{Stdout: &framed{&x.mu, x.conn, byte(api.FrameStdout)}, Stderr: &framed{&x.mu, x.conn, byte(api.FrameStderr)}}
	if stdin {
		s.Stdin = x.conn.reader()
	}
	return s
}

// exec is a session of a further process in a container.
func (s *server) exec(ctx context.Context, q api.ExecRequest, x *sessionConn) (int, error) {
	e, err := s.e.CreateExec(q.Container, engine.ExecConfig{
		Args: q.Args, Env: q.Env, User: q.User, WorkingDir: q.WorkingDir, TTY: q.TTY, Stdin: q.Stdin && !q.Detach, Privileged: q.Privileged, Size: q.Size,
	})
	if err != nil {
		return runtime.ExitCode(err), err
	}
	if q.Detach {
		if err := s.execDetached(e); err != nil {
			return runtime.ExitCode(err), err
		}
		x.begun(api.Begun{ID: e.ID})
		return 0, nil
	}
	return s.e.StartExec(ctx, e, x.streams(q.Stdin), func() { x.begun(api.Begun{ID: e.ID, TTY: q.TTY, Stdin: q.Stdin}) })
}

// takenConn is a connection that has been taken over from HTTP.
type takenConn struct {
	*net.UnixConn
	buf     *bufio.Reader // what the client sent early
	input   atomic.Bool   // somebody reads what the client sends,
	drained chan struct{} // and this is closed when there is no more of it
	once    sync.Once
}

// take takes a request's connection over.
func take(w http.ResponseWriter) (*takenConn, error) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, err
	}
	c, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, errors.Join(errors.New("the engine speaks over unix sockets only"), conn.Close())
	}
	return &takenConn{UnixConn: c, buf: rw.Reader, drained: make(chan struct{})}, nil
}

// reader is what the client sends.
func (c *takenConn) reader() io.Reader {
	c.input.Store(true)
	return inputReader{c}
}

type inputReader struct{ c *takenConn }

func (r inputReader) Read(b []byte) (n int, err error) {
	if r.c.buf.Buffered() > 0 {
		n, err = r.c.buf.Read(b)
	} else {
		n, err = r.c.UnixConn.Read(b)
	}
	if err != nil {
		r.c.once.Do(func() { close(r.c.drained) })
	}
	return n, err
}

// lastWords is how long a client that has gone is still heard: a process may not read at all.
const lastWords = time.Second

// hear waits until what a client has sent before it went is read: who types and detaches has meant it.
func (c *takenConn) hear() {
	if !c.input.Load() {
		return
	}
	select {
	case <-c.drained:
	case <-time.After(lastWords):
	}
}

// untilGone returns a context that ends when the client has closed its connection; that it sends nothing more (shutdown(2)
// with SHUT_WR) is not enough. The connection is closed then, when what the client had sent is read, so that nothing waits for
// it. stop ends the watch.
func (c *takenConn) untilGone(parent context.Context) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	w, err := c.watched()
	if err != nil {
		cancel(err)
		return ctx, func() {}
	}
	var watch sync.WaitGroup
	watch.Go(func() {
		if hungUp(w) {
			c.hear()
			cancel(errGone)
			_ = c.Close()
		}
	})
	return ctx, func() {
		_ = w.Close()
		watch.Wait()
		cancel(nil)
	}
}

var errGone = errors.New("the client has gone")

// watched is another descriptor of the connection: waiting on it takes no reader's or writer's turn.
func (c *takenConn) watched() (*os.File, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd := -1
	var dupErr error
	if err := raw.Control(func(s uintptr) { fd, dupErr = unix.FcntlInt(s, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		return nil, err
	}
	if dupErr != nil {
		return nil, os.NewSyscallError("fcntl", dupErr)
	}
	return os.NewFile(uintptr(fd), "connection"), nil
}

// hungUp waits until both directions of a connection are closed (POLLHUP, poll(2)), or w is.
func hungUp(w *os.File) bool {
	raw, err := w.SyscallConn()
	if err != nil {
		return false
	}
	gone := false
	err = raw.Read(func(fd uintptr) bool {
		p := []unix.PollFd{{Fd: int32(fd)}} //nolint:gosec // a descriptor
		_, _ = unix.Poll(p, 0)
		gone = p[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0
		return gone
	})
	return err == nil && gone
}
