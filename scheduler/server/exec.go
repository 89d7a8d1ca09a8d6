package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"syscall"

	"tutti/scheduler/api"
	"tutti/scheduler/engine"
)

// execRequest is the body of POST /containers/{id}/exec.
type execRequest struct {
	AttachStdin, AttachStdout, AttachStderr, Tty, Privileged bool
	User, WorkingDir, DetachKeys                             string
	Env, Cmd                                                 []string
	ConsoleSize                                              []uint16 // height, width
}

// execStart is the body of POST /exec/{id}/start.
type execStart struct {
	Detach, Tty bool
	ConsoleSize []uint16 // height, width
}

func (s *server) execRoutes(mux *http.ServeMux) {
	mux.HandleFunc("POST /containers/{id}/exec", func(w http.ResponseWriter, r *http.Request) {
		q, ok := read[execRequest](w, r)
		if !ok {
			return
		}
		c := engine.ExecConfig{
			Args: q.Cmd, Env: q.Env, User: q.User, WorkingDir: q.WorkingDir, TTY: q.Tty, Stdin: q.AttachStdin, Privileged: q.Privileged,
		}
		if len(q.ConsoleSize) == 2 {
			c.Size = api.Size{Height: q.ConsoleSize[0], Width: q.ConsoleSize[1]}
		}
		x, err := s.e.CreateExec(r.PathValue("id"), c)
		if err != nil {
			failWith(w, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		answer(w, map[string]string{"Id": x.ID})
	})
	mux.HandleFunc("POST /exec/{id}/start", s.startExec)
	mux.HandleFunc("POST /exec/{id}/resize", func(w http.ResponseWriter, r *http.Request) {
		x, err := s.e.FindExec(r.PathValue("id"))
		if err == nil {
			var width, height uint16
			if width, height, err = size(r); err != nil {
				fail(w, http.StatusBadRequest, err)
				return
			}
			err = x.Resize(width, height)
		}
		if err != nil {
			failWith(w, err)
			return
		}
		w.WriteHeader(http.StatusCreated)
	})
	mux.HandleFunc("GET /exec/{id}/json", func(w http.ResponseWriter, r *http.Request) {
		x, err := s.e.FindExec(r.PathValue("id"))
		if err != nil {
			failWith(w, err)
			return
		}
		running, pid, code, id := x.Status()
		answer(w, map[string]any{
			"ID": x.ID, "Running": running, "ExitCode": code, "Pid": pid, "ContainerID": id, "CanRemove": false,
			"OpenStdin": x.Config.Stdin, "OpenStdout": true, "OpenStderr": true,
			"ProcessConfig": map[string]any{"tty": x.Config.TTY, "entrypoint": x.Config.Args[0], "arguments": x.Config.Args[1:], "privileged": x.Config.Privileged, "user": x.Config.User},
		})
	})
}

// size reads a terminal's size from a request.
func size(r *http.Request) (width, height uint16, err error) {
	w, err := strconv.ParseUint(r.URL.Query().Get("w"), 10, 16)
	if err != nil {
		return 0, 0, fmt.Errorf("the width w: %w", err)
	}
	h, err := strconv.ParseUint(r.URL.Query().Get("h"), 10, 16)
	if err != nil {
		return 0, 0, fmt.Errorf("the height h: %w", err)
	}
	return uint16(w), uint16(h), nil
}

// startExec runs an exec. Attached, the connection becomes its streams, as docker's "hijacking" has it.
func (s *server) startExec(w http.ResponseWriter, r *http.Request) {
	q, ok := read[execStart](w, r)
	if !ok {
		return
	}
	x, err := s.e.FindExec(r.PathValue("id"))
	if err != nil {
		failWith(w, err)
		return
	}
	if len(q.ConsoleSize) == 2 {
		x.Config.Size = api.Size{Height: q.ConsoleSize[0], Width: q.ConsoleSize[1]}
	}
	if q.Detach {
		if err := s.execDetached(x); err != nil {
			failWith(w, err)
		}
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
	streams := conn.streams(x.Config.TTY)
	_, err = s.e.StartExec(ctx, x, streams, func() { upgrade(conn, r) })
	switch _, pid, code, _ := x.Status(); {
	case err == nil || pid != 0:
	case code == 126 || code == 127: // the command's fault: the client shows the message and ends with the code, as with docker
		upgrade(conn, r)
		_, _ = fmt.Fprintf(streams.Stderr, "%v\r\n", err)
	default:
		refuse(conn, err)
	}
}

// execDetached runs an exec that nobody is connected to, and returns when its process runs.
func (s *server) execDetached(x *engine.Exec) error {
	started := make(chan error, 1)
	s.e.Background("exec "+x.ID[:12], func() error {
		_, err := s.e.StartExec(s.e.Life(), x, engine.Streams{Stdout: io.Discard, Stderr: io.Discard}, func() { started <- nil })
		started <- err
		return nil
	})
	return <-started
}

// upgrade answers that the connection is the streams' from now on.
func upgrade(conn net.Conn, r *http.Request) {
	if r.Header.Get("Upgrade") != "" {
		_, _ = io.WriteString(conn, "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
		return
	}
	_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n")
}

// refuse answers an error on a connection that has been taken over.
func refuse(conn net.Conn, err error) {
	code := http.StatusInternalServerError
	if errors.Is(err, engine.ErrConflict) {
		code = http.StatusConflict
	}
	body, _ := json.Marshal(map[string]string{"message": err.Error()}) // never fails
	body = append(body, '\n')
	_, _ = fmt.Fprintf(conn, "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", code, http.StatusText(code), len(body), body)
}

// streams are the ends of a connection for docker's clients: raw with a terminal, in docker's frames without.
func (c *takenConn) streams(tty bool) engine.Streams {
	in := c.reader()
	if tty {
		return engine.Streams{Stdin: in, Stdout: c.UnixConn, Stderr: c.UnixConn}
	}
	var mu sync.Mutex
	return engine.Streams{Stdin: in, Stdout: &framed{&mu, c.UnixConn, 1}, Stderr: &framed{&mu, c.UnixConn, 2}}
}

// framed writes docker's multiplexed stream: an 8-byte header (stream, 0, 0, 0, length as big-endian uint32) and the bytes.
type framed struct {
	mu     *sync.Mutex
	w      io.Writer
	stream byte
}

func (f *framed) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	header := api.FrameHeader(api.FrameKind(f.stream), len(b))
	parts := net.Buffers{header[:], b} // one writev(2)
	// Of a client that has gone untilGone tells, when its last input is read.
	if _, err := parts.WriteTo(f.w); err != nil && !errors.Is(err, syscall.EPIPE) {
		return 0, err
	}
	return len(b), nil
}
